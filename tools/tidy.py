#!/usr/bin/env python3
"""The rules of style that no other tool checks. Prints each breach as path:line: text; exits 1 if
there is one.

- No line of a source or document is longer than 100 columns.
- No function is longer than 70 lines, no C or TypeScript file than 1000. tools/tidy-allow.txt lists
  what may be longer, with the reason: kernels and tables.
- A folder of src/ includes only folders before it in the flow of data, and what all may include.
- Nothing is left over: no TODO or FIXME, no trailing blanks.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLUMNS_MAX, FUNCTION_MAX, FILE_MAX = 100, 70, 1000

# docs/ARCHITECTURE.md: bytes -> format -> graph -> opt -> plan -> run -> device. Formats write
# graphs, so they come behind graph/; a session (run/) opens its device, so it comes behind the
# devices, which implement plan/device.h.
FLOW = ["base", "graph", "format", "opt", "plan", "cpu", "gpu", "run", "llm", "wasm"]
EVERYWHERE = ["weft", "kernels"]

CODE = {".c", ".h", ".inc", ".ts", ".mjs", ".js", ".py", ".sh", ".cmake", ".md", ".wgsl", ".html"}
BY_LINES = {".c", ".h", ".ts"}
# An address, a row of a table in a document, a sentence that a test expects.
UNBREAKABLE = re.compile(r"""://|^\||"[^"]{50,}"|'[^']{50,}'|`[^`]{50,}`""")
LEFT_OVER = re.compile(r"\b(TODO|FIXME|XXX)\b")
INCLUDE = re.compile(r'#include "([a-z_0-9]+)/')


def tracked():
    """Files of the working tree that git tracks, or would if they were added."""
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                             capture_output=True, text=True).stdout
    return [path for path in listing.split("\n") if path and (ROOT / path).is_file()]


def allowed():
    """What tidy-allow.txt exempts: `path` or `path:function`, then a reason."""
    lines = (ROOT / "tools/tidy-allow.txt").read_text().splitlines()
    return {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}


def check_lines(path, lines):
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX and not UNBREAKABLE.search(line):
            yield number, f"{len(line)} columns"
        if line != line.rstrip():
            yield number, "blanks at the end"
        if LEFT_OVER.search(line) and path != "tools/tidy.py":
            yield number, "work left over"


def functions(lines):
    """(name, first line, last line) of the functions of a formatted C file: each starts at a line
    that is not indented, has its opening brace behind a parenthesis and ends with a brace in
    column 0."""
    start = None
    for number, line in enumerate(lines, 1):
        if start is None and re.match(r"[A-Za-z_].*[(,]", line):
            start = number
        if start is None:
            continue
        if line.startswith("}") or (line.endswith("}") and not line.startswith(" ")):
            head = " ".join(lines[start - 1:number])
            name = re.search(r"(\w+)\([^{;=]*\) \{", head)
            if name:
                yield name.group(1), start, number
            start = None
        elif line.endswith(";") and not line.startswith(" ") and "{" not in line:
            start = None


def check_functions(path, lines, exempt):
    for name, first, last in functions(lines):
        if last - first + 1 > FUNCTION_MAX and f"{path}:{name}" not in exempt:
            yield first, f"function {name} has {last - first + 1} lines"


def check_includes(path, lines):
    folder = path.split("/")[1]
    for number, line in enumerate(lines, 1):
        found = INCLUDE.match(line)
        if not found or found.group(1) in EVERYWHERE:
            continue
        if found.group(1) not in FLOW or FLOW.index(found.group(1)) > FLOW.index(folder):
            yield number, f"src/{folder} includes {found.group(1)}/, which comes after it"


def check(path, exempt):
    suffix = pathlib.PurePath(path).suffix
    if suffix not in CODE and path != "dev":
        return
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    if path in exempt:
        return
    yield from check_lines(path, lines)
    if suffix in BY_LINES and len(lines) > FILE_MAX:
        yield 1, f"{len(lines)} lines"
    if suffix in {".c", ".h"}:
        yield from check_functions(path, lines, exempt)
    if path.startswith("src/"):
        yield from check_includes(path, lines)


def main():
    exempt = allowed()
    breaches = [f"{path}:{number}: {text}" for path in tracked()
                for number, text in check(path, exempt)]
    print("\n".join(breaches) or "tidy")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
