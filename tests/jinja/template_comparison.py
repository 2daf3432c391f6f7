#!/usr/bin/env python3
"""Compares our Jinja with the jinja2 package, set up as transformers does, on generated templates: the text is the
same, or both fail, or we say what is not implemented. A text that differs, or one where the other fails, is a fault.

usage: template_comparison.py RENDERER [--cases N] [--seed N] [--kind expressions|scopes|attributes] [--record FILE]
RENDERER is build/release/bin/template_lines. --record writes the cases with what jinja2 made of them, for
template_comparison_test.cc."""
import argparse
import collections.abc
import datetime
import json
import lzma
import re
import subprocess
import sys

try:
    import jinja2
    import jinja2.ext
    import jinja2.nodes
    import jinja2.sandbox
except ImportError:
    print("SKIPPED: there is no jinja2 package")
    sys.exit(77)

import template_attributes
import template_cases
import template_scopes

CONTEXTS = [*template_cases.CONTEXTS, template_scopes.CONTEXT]

NOT_IMPLEMENTED = "not implemented"
ADDRESS = re.compile(r"object [\w. <>]*at 0x|generator object|<function|bound method|built-in method", re.I)


class Generation(jinja2.ext.Extension):
    """The tag of transformers that marks an assistant's words; it prints what is in it."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

    def _said(self, caller):
        return caller()


def environment():
    def listed(value):
        """Ours takes generators, which published templates give it."""
        if isinstance(value, collections.abc.Iterator):
            return list(value)
        raise TypeError

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys,
                          default=listed)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: datetime.datetime.now().strftime(format)
    return env


def rendered(env, template, variables):
    """The text, or None for a failure."""
    try:
        text = env.from_string(template).render(**json.loads(json.dumps(variables)))
        text.encode()
        # An address is different in each run, so that no text of ours can be right.
        return None if ADDRESS.search(text) else text
    except Exception:
        return None


def ours(renderer, cases):
    lines = "".join(json.dumps([template, json.dumps(CONTEXTS[context])]) + "\n" for template, context in cases)
    output = subprocess.run([renderer], input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout.decode()
    results = [json.loads(line) for line in output.splitlines()]
    assert len(results) == len(cases)
    return results


def fault(expected, found):
    """What is wrong, or None."""
    if "text" in found:
        if expected is None:
            return "jinja2 fails, we print"
        return None if found["text"] == expected else "texts differ"
    if expected is None or NOT_IMPLEMENTED in found["error"]:
        return None
    return "jinja2 prints, we fail"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("renderer")
    parser.add_argument("--cases", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=["expressions", "scopes", "attributes"])
    parser.add_argument("--record")
    parser.add_argument("--show", type=int, default=20)
    arguments = parser.parse_args()
    env = environment()
    cases = []
    if arguments.kind in (None, "expressions"):
        cases += template_cases.generate(arguments.seed, arguments.cases)
    if arguments.kind in (None, "attributes"):
        cases += [(template, len(CONTEXTS) - 1) for template in template_attributes.generate(arguments.cases)]
    if arguments.kind in (None, "scopes"):
        templates = template_scopes.generate(arguments.seed, arguments.cases)
        cases += [(template, len(CONTEXTS) - 1) for template in templates]
    expected = [rendered(env, template, CONTEXTS[context]) for template, context in cases]
    found = ours(arguments.renderer, cases)
    faults = {}
    for case, text, result in zip(cases, expected, found):
        kind = fault(text, result)
        if kind:
            faults.setdefault(kind, []).append((case, text, result))
    for kind, examples in faults.items():
        print(f"{kind}: {len(examples)}")
        for (template, context), text, result in sorted(examples, key=lambda e: len(e[0][0]))[:arguments.show]:
            print(f"  {context} {template!r}\n    jinja2: {text!r}\n    ours:   {result}")
    texts = sum(text is not None for text in expected)
    declined = sum(NOT_IMPLEMENTED in result.get("error", "") for result in found)
    print(f"seed {arguments.seed}, jinja2 {jinja2.__version__}: {len(cases)} cases, {texts} with a text, "
          f"{declined} not implemented, {sum(map(len, faults.values()))} faults")
    if arguments.record:
        with lzma.open(arguments.record, "wt", preset=9) as file:
            file.write(json.dumps([json.dumps(context) for context in CONTEXTS]) + "\n")
            for (template, context), text in zip(cases, expected):
                file.write(json.dumps([template, context, text], ensure_ascii=False) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
