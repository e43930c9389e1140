#!/usr/bin/env python3
"""Writes docs/OPS.md: which ONNX operators Weft runs, from which opset, on which element types.

    tools/ops_table.py            writes it
    tools/ops_table.py --check    exit status 1 if it is not up to date

Sources: the operator table src/format/onnx_ops.inc, the verdicts in tests/onnx/expected.txt, and
the operator list of the `onnx` package. An element type is listed where a passing test uses it as
an input or output.
"""
import collections
import pathlib
import re
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/onnx"))

import onnx  # noqa: E402
from onnx_build import ELEMENT  # noqa: E402
from run import PASS, all_tests, read_expected  # noqa: E402

TABLE = ROOT / "src/format/onnx_ops.inc"
OUT = ROOT / "docs/OPS.md"
ROW = re.compile(r'^WEFT_ONNX_OP\("([^"]*)",\s*(\w+),\s*(\d+),\s*(\w+),', re.MULTILINE)
ELEMENT_NAME = {number: name for name, number in ELEMENT.items()}
HEAD = """# Operators

Written by `tools/ops_table.py`; do not edit. Operators of the default domain have no prefix.
*Opsets*: the versions of the operator set that a model may import. *Tests*: how many of the `onnx`
{version} package's node tests for that operator pass; every other one is refused with an error that
names the node and the cause, and never answered wrongly. *Types*: element types of the passing
tests' inputs and outputs.

In all, {passed} of {total} tests pass ({share:.0f} %; whole models among them).
"""


def rows():
    """{operator: text of its opset versions}, from the table's lines."""
    versions = collections.defaultdict(list)
    for domain, name, first, last in ROW.findall(TABLE.read_text()):
        versions[f"{domain}.{name}" if domain else name].append(
            f"{first}+" if not last.isdigit() else f"{first}-{last}" if last != first else first)
    return {name: ", ".join(parts) for name, parts in sorted(versions.items())}


def element_types(model):
    """Names of the element types of a model's inputs and outputs."""
    numbers = {value.type.tensor_type.elem_type
               for value in [*model.graph.input, *model.graph.output]}
    return {ELEMENT_NAME[number] for number in numbers if number in ELEMENT_NAME}


def conformance():
    """{operator: (passed, total, types)}"""
    expected = read_expected()
    found = collections.defaultdict(lambda: [0, 0, set()])
    for test in all_tests():
        entry = found[test.op]
        entry[1] += 1
        if expected.get(test.name, ("",))[0] == PASS:
            entry[0] += 1
            entry[2] |= element_types(test.model)
    return found


def table(versions, found):
    lines = ["| operator | opsets | tests | types |", "|---|---|---|---|"]
    for name, text in versions.items():
        passed, total, types = found.get(name, (0, 0, set()))
        ordered = " ".join(element for element in ELEMENT if element in types)
        lines.append(f"| {name} | {text} | {f'{passed} / {total}' if total else '-'} | {ordered} |")
    return "\n".join(lines)


def missing(versions):
    """Operators of ONNX's default domain that the table lacks, the deprecated ones aside."""
    names = {schema.name for schema in onnx.defs.get_all_schemas()
             if schema.domain == "" and not schema.deprecated}
    listed = ", ".join(sorted(names - versions.keys()))
    return textwrap.fill(f"Of the default domain: {listed}.", 100)


def document():
    versions, found = rows(), conformance()
    passed, total = (sum(entry[i] for entry in found.values()) for i in (0, 1))
    head = HEAD.format(version=onnx.__version__, passed=passed, total=total,
                       share=100 * passed / total)
    return f"{head}\n{table(versions, found)}\n\n## Not yet\n\n{missing(versions)}\n"


def main():
    text = document()
    if "--check" not in sys.argv[1:]:
        OUT.write_text(text)
    elif not OUT.exists() or OUT.read_text() != text:
        sys.exit("docs/OPS.md is not up to date: run tools/ops_table.py")


if __name__ == "__main__":
    main()
