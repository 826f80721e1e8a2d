# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree like a server's disk: many small files, some large ones, half of it text that compresses, half that does not.

python tree.py DIRECTORY [GIB [FILES]]
"""

import os
import random
import sys


def main(root, gib=4.0, files=110_000):
    chance = random.Random(42)
    noise = chance.randbytes(8 << 20)
    words = [bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _word in range(4000)]
    prose = b" ".join(chance.choices(words, k=1_500_000))
    small = int(gib * (1 << 30) * 0.4 / files)
    written = 0
    for number in range(files):
        if number % 100 == 0:
            folder = os.path.join(root, f"d{number // 10000:03d}", f"e{number // 100 % 100:03d}")
            os.makedirs(folder, exist_ok=True)
        size = int(chance.expovariate(1 / small))
        written += _write(os.path.join(folder, f"f{number:07d}"), number % 2, size, noise, prose, chance)
    number = 0
    while written < gib * (1 << 30):
        size = chance.randint(1 << 20, 64 << 20)
        written += _write(os.path.join(root, f"big{number:04d}"), number % 2, size, noise, prose, chance)
        number += 1


def _write(path, compressible, size, noise, prose, chance):
    with open(path, "wb") as file:
        left = size
        while left:
            source = prose if compressible else noise
            start = chance.randrange(len(source) // 2)
            block = source[start : start + left]
            file.write(block)
            left -= len(block)
    return size


if __name__ == "__main__":
    main(sys.argv[1], *(float(word) for word in sys.argv[2:3]), *(int(word) for word in sys.argv[3:4]))
