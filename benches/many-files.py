"""Writes files of text, the same every time: 20,000 with 87 MB, unless it is told otherwise.

usage: many-files.py DIR [FILES BYTES]
"""

import pathlib
import random
import sys

N_DIRECTORIES = 200


def main():
    source = random.Random(20_000)
    words = ["".join(source.choices("etaoinshrdlucmfw", k=source.randint(2, 9))) for _ in range(4000)]
    # One long text, of which every file has a part of its own: made once, since words are slow.
    text = " ".join(source.choices(words, k=400_000)).encode()
    root = pathlib.Path(sys.argv[1])
    n_files, n_bytes = map(int, sys.argv[2:] or (20_000, 87_000_000))
    mean = n_bytes // n_files
    for number in range(n_files):
        directory = root / f"{number % N_DIRECTORIES:03}"
        directory.mkdir(parents=True, exist_ok=True)
        size = source.randint(mean // 4, mean * 7 // 4)
        start = source.randrange(len(text) - size)
        (directory / f"{number:05}.txt").write_bytes(b"%d\n" % number + text[start : start + size])


main()
