#!/usr/bin/perl
use strict;
use warnings;
use Cwd;

open my $file, '<', 'sum' or die "sum: $!";
chomp(my $sum = <$file>);
die "the sum is $sum" unless $sum == 20000 * 20001 / 2;
die 'no REPORT_MODE' unless $ENV{REPORT_MODE} eq 'plain';
my $user = getpwuid $>;
print "made by ", q(@MAKER@), ", run by $user in ", getcwd, " with arguments: @ARGV\n";
