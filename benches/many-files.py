"""Writes 20,000 files with 87 MB of text, the same every time.

usage: many-files.py DIR
"""

import pathlib
import random
import sys

N_DIRECTORIES, N_FILES, N_BYTES = 200, 20_000, 87_000_000


def main():
    source = random.Random(20_000)
    words = ["".join(source.choices("etaoinshrdlucmfw", k=source.randint(2, 9))) for _ in range(4000)]
    # One long text, of which every file has a part of its own: made once, since words are slow.
    text = " ".join(source.choices(words, k=400_000)).encode()
    root = pathlib.Path(sys.argv[1])
    mean = N_BYTES // N_FILES
    for number in range(N_FILES):
        directory = root / f"{number % N_DIRECTORIES:03}"
        directory.mkdir(parents=True, exist_ok=True)
        size = source.randint(mean // 4, mean * 7 // 4)
        start = source.randrange(len(text) - size)
        (directory / f"{number:05}.txt").write_bytes(b"%d\n" % number + text[start : start + size])


main()
