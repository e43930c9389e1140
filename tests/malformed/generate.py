#!/usr/bin/env python3
"""Writes the malformed files into a folder: NAME.onnx for each case, seed.onnx, and `cases`, a line
with name and answer for each. tests/malformed/malformed.c reads them."""

import pathlib
import sys

import cases_data, cases_decoder, cases_model, cases_operators, cases_wire
from case import CASES
from seed import seed

cases_wire.wire()
cases_model.whole_model()
cases_model.structure()
cases_model.attributes()
cases_data.tensors()
cases_data.external()
cases_operators.operators()
cases_decoder.decoder()
assert len({name for name, _, _ in CASES}) == len(CASES), "two cases have the same name"

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name, data, _ in CASES:
    (folder / f"{name}.onnx").write_bytes(data)
(folder / "seed.onnx").write_bytes(seed())
(folder / "cases").write_text("".join(f"{name}\t{answer}\n" for name, _, answer in CASES))
