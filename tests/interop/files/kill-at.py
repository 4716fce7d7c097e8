"""Runs a command that reports what it does line by line, and kills it, with all that it started, at one line.

usage: kill-at.py NUMBER SIGNAL COMMAND...: prints the line of standard error, counted from 1, and how many
milliseconds the command took to end then. Ends with 3 if the command was done before.
"""
import os
import signal
import subprocess
import sys
import time

number, sent, command = int(sys.argv[1]), signal.Signals["SIG" + sys.argv[2]], sys.argv[3:]
# Whoever is in the background of a shell ignores Ctrl-C, and so would the command.
signal.signal(signal.SIGINT, signal.SIG_DFL)
child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
for count, line in enumerate(child.stderr, 1):
    if count < number:
        continue
    began = time.monotonic()
    os.killpg(child.pid, sent) if sent == signal.SIGKILL else child.send_signal(sent)
    # What it still says is read, as a terminal would, or it could wait for that forever.
    child.stderr.read()
    status = child.wait()
    print(round((time.monotonic() - began) * 1000), status, line.decode(errors="replace").strip())
    sys.exit(0)
sys.exit(3)
