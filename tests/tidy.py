#!/usr/bin/env python3
"""Holds the tree to STYLE.md and to its include directions: prints each violation, exits 1 if there is one.

usage: tests/tidy.py [--headers]     --headers also compiles headers alone (after the release build: it needs its flags)
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tokenize

from tidy_rooms import LIBRARY_FOLDERS, ROOMS

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE_FOLDERS = ["base", "clients", "jinja", "kernels", "engine", "server", "tools", "tests"]
MAX_HEADER_LINES, MAX_SOURCE_LINES, MAX_FUNCTION_LINES, MAX_COLUMNS = 200, 450, 60, 120
MAX_PARAMETERS = 5

FORBIDDEN_WORDS = [
    (re.compile(r"\b\w*(Manager|Helper|Util|Utils|Impl)\b"), "name says nothing"),
    (re.compile(r"\bTODO(?!\(#\d+\))"), "TODO without an issue number, TODO(#12)"),
    (re.compile(r"\b(sleep_for|usleep|nanosleep|time\.sleep)\b"), "sleeps: wait on a condition"),
    (re.compile(r"\babsl::Mutex\b"), "absl::Mutex: std::mutex is what ThreadSanitizer understands"),
]


def sources():
    for folder in SOURCE_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".h", ".cc", ".cu", ".cuh", ".py") and path.is_file():
                yield path


def other_texts():
    """Pages, and what builds: CMake's lists, the Dockerfile, the Makefile and scripts."""
    yield from (path for path in sorted(ROOT.iterdir()) if path.name in ("CMakeLists.txt", "Dockerfile", "Makefile"))
    yield from sorted(ROOT.glob("*.md"))
    for folder in [*SOURCE_FOLDERS, "cmake", "deploy", "docs", "models", "proto", "scripts"]:
        for path in sorted((ROOT / folder).rglob("*")):
            is_script = path.suffix == ".sh" and folder in ("cmake", "scripts")
            if path.name == "CMakeLists.txt" or path.suffix in (".cmake", ".md") or is_script:
                yield path


def relative(path):
    return str(path.relative_to(ROOT))


def without_comments_and_strings(text):
    """The same text, line breaks kept, with comments and literals blanked."""
    pattern = re.compile(r'R"(\w*)\(.*?\)\1"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def check_lengths(path, text):
    lines = text.count("\n")
    limit = MAX_HEADER_LINES if path.suffix in (".h", ".cuh") else MAX_SOURCE_LINES
    if "unicode_classes" not in path.name and lines > limit:
        yield f"{lines} lines, at most {limit}: split it by meaning"
    yield from check_columns(text)


def check_columns(text):
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_COLUMNS:
            yield f"{number}: {len(line)} columns, at most {MAX_COLUMNS}"
        if line != line.rstrip():
            yield f"{number}: trailing white space"


def without_tables_and_fences(page):
    """The same page, line breaks kept, with the rows of its tables and its code blocks blanked."""
    page = re.sub(r"^[ \t]*```.*?^[ \t]*```", lambda m: "\n" * m[0].count("\n"), page, flags=re.M | re.S)
    return re.sub(r"^[ \t]*\|.*$", "", page, flags=re.M)


def check_other_text(path, text):
    if path.suffix != ".md":
        yield from check_columns(text)
        yield from check_language(path, text)
    elif path.name != "METRICS.md":  # latentd_metrics_doc prints it
        yield from check_columns(without_tables_and_fences(text))


FUNCTION_HEAD = re.compile(r"\)\s*(const|noexcept|override|final|mutable|&|&&|\s|->\s*[\w:<>,&*\s]+|:\s.*)*$", re.S)


def num_parameters(head):
    """The parameters of the function whose body follows."""
    head = re.sub(r"operator\s*\(\s*\)|(decltype|alignas|__attribute__)\([^()]*\)", "", head)
    depth, count, is_empty = 0, 0, True
    for c in head[head.find("("):]:
        depth += (c in "(<[{") - (c in ")>]}")
        if depth == 0:
            break
        is_empty = is_empty and (c == "(" or c.isspace())
        count += c == "," and depth == 1
    return 0 if is_empty else count + 1


def check_functions(path, code):
    """Outermost braces that follow a parameter list are function bodies."""
    if relative(path).startswith("kernels/"):
        return
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: "\n" * m.group().count("\n"), code, flags=re.M)
    head_start, depth, body_depth, line, body_line, name = 0, 0, None, 1, 0, ""
    for i, c in enumerate(code):
        if c == "\n":
            line += 1
        elif c == "{":
            head = code[head_start:i]
            if body_depth is None and FUNCTION_HEAD.search(head) and not re.search(r"\b(namespace|enum)\b|=\s*$", head):
                body_depth, body_line = depth, line
                name = " ".join(head.split())[-60:]
                # Tests repeat the signatures of kernels and of CUDA's own functions.
                if not relative(path).startswith("tests/") and num_parameters(head) > MAX_PARAMETERS:
                    yield f"{line}: {num_parameters(head)} parameters, at most {MAX_PARAMETERS}: …{name}"
            depth += 1
            head_start = i + 1
        elif c == "}":
            depth -= 1
            if depth == body_depth:
                length = line - body_line - 1
                if length > MAX_FUNCTION_LINES:
                    yield f"{body_line}: function of {length} lines, at most {MAX_FUNCTION_LINES}: …{name}"
                body_depth = None
            head_start = i + 1
        elif c == ";":
            head_start = i + 1


def room_of(name):
    return max((room for room in ROOMS if name.startswith(room)), key=len, default=None)


def check_includes(path, text):
    name = relative(path)
    room = room_of(name)
    if room is None:
        yield "lies in no room: see ROOMS"
        return
    allowed = [room, *ROOMS[room]]
    for number, line in enumerate(text.splitlines(), 1):
        quoted = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if quoted and not any(quoted[1].startswith(prefix) for prefix in allowed):
            yield f"{number}: includes {quoted[1]}; this room may include {', '.join(allowed)}"
        if quoted and not name.startswith("tests/") and quoted[1].startswith("tests/"):
            yield f"{number}: includes a test's header"
        for library, folders in LIBRARY_FOLDERS:
            if re.match(r"\s*#\s*include", line) and library.search(line) and not name.startswith(folders):
                yield f"{number}: {line.strip()} belongs only in {', '.join(folders)}"


def check_words(path, code, text):
    for pattern, why in FORBIDDEN_WORDS:
        for match in pattern.finditer(text if "TODO" in pattern.pattern else code):
            yield f"{code.count(chr(10), 0, match.start()) + 1}: {match.group()}: {why}"
    # Highway includes what is in an -inl.h once for each target.
    if path.suffix in (".h", ".cuh") and "#pragma once" not in text and not path.name.endswith("-inl.h"):
        yield "header without #pragma once"


def check_python_words(path):
    """The same of Python: names and calls in its code, TODO in its comments."""
    lines = {}
    with open(path, "rb") as file:
        for token in tokenize.tokenize(file.readline):
            kind = {tokenize.NAME: "code", tokenize.OP: "code", tokenize.COMMENT: "comment"}.get(token.type)
            if kind:
                lines.setdefault((token.start[0], kind), []).append(token.string)
    for (number, kind), words in sorted(lines.items()):
        for pattern, why in FORBIDDEN_WORDS:
            match = pattern.search("".join(words) if kind == "code" else " ".join(words))
            if match and ("TODO" in pattern.pattern) == (kind == "comment"):
                yield f"{number}: {match.group()}: {why}"


def unit_of(name):
    """A header and its source are one unit."""
    return re.sub(r"\.(h|cc|cu|cuh)$", "", name)


def check_circles():
    """No unit of the product includes itself through others."""
    product = [path for path in sources() if path.suffix != ".py" and not relative(path).startswith("tests/")]
    below = {unit_of(relative(path)): set() for path in product}
    for path in product:
        included = map(unit_of, re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.M))
        unit = unit_of(relative(path))
        below[unit].update(other for other in included if other in below and other != unit)
    done, route = set(), []

    def visit(unit):
        if unit in route:
            yield f"{unit}: a circle of units: {' -> '.join([*route[route.index(unit):], unit])}"
        elif unit not in done:
            route.append(unit)
            for other in sorted(below[unit]):
                yield from visit(other)
            route.pop()
            done.add(unit)

    for unit in sorted(below):
        yield from visit(unit)


def check_base():
    """base/ is a closed list: its page names each unit and no other, and two rooms or units of base use each."""
    listed = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "base/README.md").read_text(), re.M))
    units = {path.stem for path in sources() if relative(path).startswith("base/")}
    for unit in sorted(listed ^ units):
        yield f"base/README.md: {unit} is {'listed and not there' if unit in listed else 'there and not listed'}"
    users = {unit: set() for unit in units}
    for path in sources():
        name = relative(path)
        if path.suffix == ".py" or name.startswith("tests/"):
            continue
        for unit in re.findall(r'^\s*#\s*include\s+"base/(\w+)\.h"', path.read_text(), re.M):
            if unit in users and unit_of(name) != f"base/{unit}":
                users[unit].add(unit_of(name) if name.startswith("base/") else room_of(name))
    for unit, found in sorted(users.items()):
        if len(found) < 2:
            yield f"base/{unit}: used by {', '.join(found) or 'no room'} alone: it belongs there"


def check_comments(path, text):
    """Lines of one word that a formatter left behind: within a sentence, or where the word fits on the line above."""
    lines = [*text.splitlines(), ""]
    for number, (above, line, below) in enumerate(zip(lines, lines[1:], lines[2:]), 2):
        word = re.fullmatch(r"(\s*)// {0,3}([^\sA-Z/-]\S*)", line)
        if not word or not re.match(r"\s*// *\w.*[^.:!?`;]$", above):
            continue
        goes_on = re.match(r"\s*// *[^\sA-Z]", below) and not word[2].endswith((".", ":"))
        if goes_on or len(above) + 1 + len(word[2]) <= MAX_COLUMNS:
            yield f"{number}: a comment's line of one word, {word[2]}: reflow it"


def check_language(path, text):
    """Comments name their subject first (STYLE.md, Plain English)."""
    for number, line in enumerate(text.splitlines(), 1):
        is_c = path.suffix in (".h", ".cc", ".cu", ".cuh")
        mark = r"(?<!:)//" if is_c else r"(?:^|\s)#|^\s*\"\"\""
        comment = re.search(rf"(?:{mark})(.*)$", line)
        found = comment and (re.search(r"\b([Nn]obody|[Ww]hoever)\b", comment[1]) or
                             re.search(r"(?:^\s*|[.:;!?]\s+)Of\s", comment[1]))
        if found:
            yield f"{number}: a comment with '{found[0].strip()}': name the subject, first"
        # What users read, too; tests call their doings as they like.
        if not relative(path).startswith("tests/") and path.suffix != ".py":
            for word in re.findall(r'"(?:\\.|[^"\\])*?\b([Nn]obody|[Ww]hoever)\b', line):
                yield f"{number}: a message with '{word}': name the subject"


def check_tests_registered():
    lists = "\n".join(p.read_text() for p in (ROOT / "tests").rglob("CMakeLists.txt"))
    for path in sorted((ROOT / "tests").rglob("*_test.*")):
        if path.suffix in (".cc", ".py") and path.name not in lists:
            yield f"{relative(path)}: not registered in any tests/**/CMakeLists.txt"


def check_named_tests():
    """Each test that a page in tests/ names as `path: Suite.Name` or, in Python, `path: name` exists."""
    for page in sorted((ROOT / "tests").glob("*.md")):
        named = re.findall(r"`(tests/[\w/.]+\.(?:cc|py)): ([\w.]+)`", page.read_text())
        if not named:
            yield f"{relative(page)}: names no test"
        for path, name in named:
            pattern = rf"\bdef {name}\(" if path.endswith(".py") else \
                r"\bTEST(?:_F|_P)?\(\s*" + r",\s*".join(re.escape(part) for part in name.split(".")) + r"\s*\)"
            if not (ROOT / path).exists() or not re.search(pattern, (ROOT / path).read_text()):
                yield f"{relative(page)}: no test {name} in {path}"


def check_cited_pages(path, text):
    """Each page of docs/ that a text cites exists, and so do the sections whose numbers follow its name."""
    text = re.sub(r"\n[ \t]*(?://|#)[ \t]*", " ", text)  # a number may stand on a comment's next line
    for match in re.finditer(r"\bdocs/[\w/-]+\.md((?:(?: |, | and )\d+(?:\.\d+)?)*)", text):
        page = ROOT / match[0].removesuffix(match[1])
        if not page.exists():
            yield f"cites {match[0]}, which does not exist"
            continue
        sections = re.findall(r"^#+ (\d+(?:\.\d+)?)\b", page.read_text(), re.M)
        for number in re.findall(r"\d+(?:\.\d+)?", match[1]):
            if number not in sections:
                yield f"cites section {number} of {relative(page)}, which does not exist"
    for match in re.finditer(r"\b[Ss]pec(?:ification)? (?:section )?\d|\bspec [a-z_]+\.md|\bDESIGN\b", text):
        if path != pathlib.Path(__file__).resolve():
            yield f"cites {match[0]}: name a page of docs/"


def anchors_of(page):
    """As GitHub makes them of a page's headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def check_links():
    """Each relative link of a page leads to a file, and to one of its headings."""
    folders = ("clients", "deploy", "docs", "models")
    pages = [*ROOT.glob("*.md"), *(page for folder in folders for page in (ROOT / folder).rglob("*.md"))]
    for page in sorted(pages):
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text()):
            file = page.parent / target if target else page
            if not file.exists() or (anchor and anchor not in anchors_of(file)):
                place = f"{target}#{anchor}" if anchor else target
                yield f"{relative(page)}: no {place}, where a link leads"


def check_named_files():
    """Each file or unit of the tree that README or a page of docs/ names by its path exists."""
    rooms = "base|clients|cmake|deploy|docs|engine|jinja|kernels|models|proto|scripts|server|tests|tools"
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = re.sub(r"\]\([^)]*\)|https?:\S+", "", page.read_text())
        for name in sorted(set(re.findall(rf"(?<![\w/.-])(?:{rooms})/[\w/.-]*\w", text))):
            path = ROOT / name
            if not path.exists() and not any(path.parent.glob(f"{path.name}.*")):
                yield f"{relative(page)}: names {name}, which does not exist"


def compile_commands():
    """{source: command} of the release build."""
    entries = json.loads((ROOT / "build/release/compile_commands.json").read_text())
    return {entry["file"]: entry["command"] for entry in entries}


def compile_flags(commands):
    """Include paths and definitions that any translation unit uses, but for those that say where this clone lies."""
    flags = set()
    for command in commands.values():
        words = shlex.split(command)
        flags.update(w for w in words if w.startswith("-I") or w.startswith("-D") and str(ROOT) not in w)
        flags.update(f"-isystem{words[i + 1]}" for i, w in enumerate(words) if w == "-isystem")
    return sorted(flags)


def is_first_include_of_its_source(header):
    source = header.with_suffix(".cc")
    first = re.search(r'^#include (.*)$', source.read_text(), re.M) if source.exists() else None
    return first is not None and first[1] == f'"{relative(header)}"'


def is_compiled_alone(header, commands):
    """By this build or, where it has precompiled headers, by the preset asan-ubsan, which has none
    (make test-slow)."""
    if not is_first_include_of_its_source(header):
        return False
    is_elsewhere = not relative(header).startswith(("tests/", "tools/convert/"))
    return is_elsewhere or "cmake_pch" not in commands.get(str(header.with_suffix(".cc")), "")


def check_headers_alone():
    commands = compile_commands()
    headers = [p for p in sources() if p.suffix == ".h" and not is_compiled_alone(p, commands)]
    flags = compile_flags(commands)
    out = ROOT / "build/release/headers"
    out.mkdir(parents=True, exist_ok=True)
    compiler = ["ccache", "g++"] if shutil.which("ccache") else ["g++"]
    shared = dict(os.environ, CCACHE_BASEDIR=str(ROOT), CCACHE_NOHASHDIR="1", CCACHE_COMPILERCHECK="content")

    def compile_alone(header):
        unit = out / (relative(header).replace("/", "__") + ".cc")
        content = f'#include "{relative(header)}"\n'
        if not unit.exists() or unit.read_text() != content:
            unit.write_text(content)
        command = [*compiler, "-std=c++20", "-O0", "-Wall", "-Wextra", "-Wno-unused-function", "-Werror", *flags,
                   f"-I{ROOT}", "-c", str(unit), "-o", str(unit.with_suffix(".o"))]
        run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=shared)
        return None if run.returncode == 0 else f"{relative(header)}: does not compile alone:\n{run.stderr[:2000]}"

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from filter(None, pool.map(compile_alone, headers))


def main():
    violations = [*check_tests_registered(), *check_named_tests(), *check_links(), *check_named_files(),
                  *check_circles(), *check_base()]
    for path in sources():
        text = path.read_text()
        found = [*check_lengths(path, text), *check_cited_pages(path, text), *check_language(path, text)]
        if path.suffix != ".py":
            code = without_comments_and_strings(text)
            found += [*check_includes(path, text), *check_functions(path, code), *check_words(path, code, text),
                      *check_comments(path, text)]
        violations += [f"{relative(path)}: {v}" for v in found]
    for path in other_texts():
        violations += [f"{relative(path)}: {v}" for v in check_other_text(path, path.read_text())]
    if "--headers" in sys.argv[1:]:
        violations += check_headers_alone()
    print("\n".join(violations) if violations else "tidy: no violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
