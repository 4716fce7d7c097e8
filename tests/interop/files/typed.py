#!/usr/bin/env python3
"""Runs a command on a terminal of its own and types lines when it says something.

usage: typed.py PROMPT LINES COMMAND...: LINES are typed once PROMPT was shown. Ends as the command does.
"""
import os
import pty
import sys

prompt, lines, command = sys.argv[1].encode(), sys.argv[2].encode().decode("unicode_escape").encode(), sys.argv[3:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
seen, is_typed = b"", False
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    seen += piece
    os.write(1, piece)
    if prompt in seen and not is_typed:
        is_typed = True
        os.write(terminal, lines)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
