#!/usr/bin/env python3
"""Writes the malformed files of cases.py into a folder, and `cases`: a line with name and answer for each (tests/malformed/malformed.c)."""

import pathlib
import sys

from cases import CASES, seed

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name, data, _ in CASES:
    (folder / f"{name}.onnx").write_bytes(data)
(folder / "seed.onnx").write_bytes(seed())
(folder / "cases").write_text("".join(f"{name}\t{answer}\n" for name, _, answer in CASES))
assert len({name for name, _, _ in CASES}) == len(CASES)
