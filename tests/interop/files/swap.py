"""Changes a directory all the time: what is a directory or a file now is a link out of it at once.

usage: swap.py CONTEXT OUTSIDE: prints a line when it begins, and goes on until it is killed.
"""
import ctypes
import os
import sys

RENAME_EXCHANGE, AT_FDCWD = 2, -100
libc = ctypes.CDLL(None)
context, outside = os.fsencode(sys.argv[1]), os.fsencode(os.path.abspath(sys.argv[2]))
os.chdir(context)


def swap(a, b):
    libc.renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE)


for directory in range(50):
    os.makedirs(b"d/%d" % directory)
    for file in range(20):
        with open(b"d/%d/f%d" % (directory, file), "w") as made:
            made.write("inside\n" * 200)
with open(b"f", "w") as made:
    made.write("inside\n" * 5000)
os.symlink(outside, b"link")
os.symlink(outside + b"/f1", b"file-link")
print("ready", flush=True)
n = 0
while True:
    n += 1
    swap(b"d/%d" % (n % 50), b"link")
    swap(b"d/%d/f%d" % ((n * 7) % 50, n % 20), b"file-link")
    os.truncate(b"f", (n * 7919) % 200000)
    if n % 3:
        with open(b"gone", "w") as made:
            made.write("inside\n" * (n % 5))
    elif os.path.exists(b"gone"):
        os.unlink(b"gone")
