"""Generated templates for template_comparison.py, about what is the case when: names that are read and set in scopes
inside each other, generators that are gone through in part, constants that no number of Python's source can be."""
import random

CONTEXT = {
    "x": "X", "y": "Y", "z": 0, "n": 5, "f": 1.5, "xs": [1, 2], "ls": [1, 2, 3, 4], "words": ["b", "a", "c"],
    "ms": [{"r": "u", "a": 1}, {"r": "v", "a": 2}, {"r": "u", "a": 3}], "d": {"a": 1, "b": 2},
}

GENERATORS = [
    "ls|map('string')", "ls|select('odd')", "ls|reject('odd')", "ms|selectattr('a')", "ms|map(attribute='a')",
    "ls|batch(2)", "ls|slice(2)", "ls|reverse", "ls|unique", "d|items", "d.items()", "d.keys()", "ls|list",
    "ls|map('string')|select", "'abc'|reverse", "words|sort", "range(4)", "range(4)|reverse", "ms|groupby('r')",
    "ls|map('string')|batch(2)", "ls|select('none')", "ls|sort|reverse", "ls|map('string')|unique",
]
USES = [
    "{% for i in g %}{{ i }}{% break %}{% endfor %}|{{ g|list }}",
    "{% for i in g %}{{ i }}{% if loop.index == 2 %}{% break %}{% endif %}{% endfor %}|"
    "{% for i in g %}{{ i }}{% endfor %}",
    "{% for i in g %}{{ i }}{{ loop.last }}{% break %}{% endfor %}|{{ g|list }}",
    "{% for i in g %}{{ i }}{{ loop.nextitem }}{{ loop.length }}{% break %}{% endfor %}|{{ g|list }}",
    "{% for i in g %}{{ i }}{% break %}{% endfor %}|done", "{% for i in g %}{% continue %}{% endfor %}|{{ g|list }}",
    "{% for i in g %}{% break %}{% else %}e{% endfor %}{% for i in g %}{{ i }}{% else %}e{% endfor %}",
    "{% for i in g if i %}{{ i }}{% break %}{% endfor %}|{{ g|list }}",
    "{% for i in g if i != 1 %}{{ i }}{{ loop.first }}{% endfor %}|{{ g|list }}",
    "{% for i in g %}{% for j in g %}{{ i }}{{ j }};{% endfor %}{% endfor %}",
    "{% for i in g %}{{ g|list }};{% endfor %}",
    "{% for i in g recursive %}{{ i }}{% break %}{% endfor %}|{{ g|list }}",
    "{% for i in [0] recursive %}{{ i }}{% if not i %}{{ loop(g) }}{% endif %}{% break %}{% endfor %}|{{ g|list }}",
    "{{ g|first }}|{{ g|first }}|{{ g|list }}", "{{ '2' in g }}|{{ g|list }}", "{{ 99 in g }}|{{ g|list }}",
    "{% set h = g|map('string') %}{{ h|first }}|{{ g|list }}|{{ h|list }}",
    "{% set h = g|map('string') %}{{ h|list }}|{{ g|list }}|{{ h|list }}",
    "{% set h = g|select %}{{ g|list }}|{{ h|list }}",
    "{% set h = g|select|map('string') %}{{ h|list }}|{{ g|list }}",
    "{% set h = g|select('none') %}{{ g|list }}|{{ h|list }}", "{% set h = g|batch(2) %}{{ h|first }}|{{ g|list }}",
    "{% set h = g|unique %}{{ h|first }}|{{ h|list }}", "{% set a, b = g %}{{ a }}{{ b }}", "{{ g|join }}|{{ g|list }}",
    "{% macro m(q) %}{% for i in q %}{{ i }}{% break %}{% endfor %}{% endmacro %}{{ m(g) }}{{ m(g) }}",
    "{% set ns = namespace(g=g) %}{% for i in ns.g %}{% break %}{% endfor %}{{ g|list }}",
    "{{ g|tojson }}|{{ g|list }}", "{{ g|length }}", "{{ g|max }}|{{ g|list }}", "{% if g %}y{% endif %}{{ g|list }}",
    "{{ g|reverse|list }}|{{ g|list }}",
]

CONSTANTS = [
    "1e999", "-1e999", "1e999 - 1e999", "1e308 * 10", "[1e999]", "{'a': 1e999}", "1e999|int", "1e999|string",
    "'inf'|float", "'nan'|float", "1e999 > 1", "1e999|tojson", "x ~ 1e999", "1e999 if n else 0", "n and 1e999",
    "z and 1e999", "1e999 is number", "1e999 // 1", "0 * 1e999", "1e999|round", "[1, 1e999]|max", "'%s'|format(1e999)",
    "1e999 == 1e999", "not 1e999", "1e999 or 2", "1e-999", "f * 1e999", "n + 1e308 * 10", "n / 1e999", "f < 1e999",
    "[1e999]|map('string')|list", "[1e999]|reverse|list", "range(1e999)", "dict(a=1e999).a", "n * 1e308 * 10",
]
PLACES = [
    "{{ %s }}", "{%% set q = %s %%}{{ q }}", "{%% set q = %s %%}ok", "{%% if %s %%}a{%% else %%}b{%% endif %%}",
    "{%% for i in [%s] %%}{{ i }}{%% endfor %%}", "{%% macro m(a=%s) %%}{{ a }}{%% endmacro %%}{{ m() }}{{ m(2) }}",
    "{%% macro m(a=%s) %%}{{ a }}{%% endmacro %%}{{ m(2) }}", "{%% if z %%}{{ %s }}{%% endif %%}ok", "a{{ n }}{{ %s }}",
    "{%% with q = %s %%}{{ q }}{%% endwith %%}", "{%% macro m() %%}{{ %s }}{%% endmacro %%}{{ m() }}",
]

SCOPES = [
    "{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% set x = 1 %}{{ m() }}",
    "{{ x }}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% set x = 1 %}{{ m() }}",
    "{% macro m() %}{{ x is defined }}{% endmacro %}{{ m() }}{% set x, y = 1, 2 %}{{ m() }}",
    "{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% set x %}b{% endset %}{{ m() }}",
    "{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% if z %}{% set x = 3 %}{% endif %}{{ m() }}",
    "{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% if z %}{% set x = 3 %}{% elif n %}{% set x = 4 %}{% else %}"
    "{% set x = 5 %}{% endif %}{{ m() }}",
    "{% macro m() %}{{ x }}{% endmacro %}{% for i in xs %}{% set x = i %}{{ m() }}{% endfor %}",
    "{% macro m(a=x, x=5) %}{{ a }}{{ x }}{% endmacro %}{{ m() }}",
    "{% macro m(x, a=x) %}{{ a }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{{ x }}{% endcall %}{% set x = 1 %}",
    "{% macro m() %}{{ ns.a }}{% endmacro %}{% set ns = namespace(a=1) %}{{ m() }}",
    "{% set g %}{{ x }}{% endset %}{% set x = 1 %}{{ g }}", "{% filter upper %}{{ x }}{% endfilter %}{% set x = 1 %}",
    "{% for i in xs %}{{ x }}{% endfor %}{% set x = 1 %}{{ x }}",
    "{% with %}{{ x }}{% set x = 1 %}{{ x }}{% endwith %}{{ x }}",
    "{% generation %}{{ x }}{% endgeneration %}{% set x = 2 %}{{ x }}", "{{ m() }}{% macro m() %}a{% endmacro %}",
    "{% for a in xs recursive %}{{ x }}{% set x = a %}{{ x }}{% if a == 1 %}{{ loop([5]) }}{% endif %}{% endfor %}",
    "{% macro o() %}{% macro i() %}{{ x }}{% endmacro %}{{ i() }}{% set x = 1 %}{{ i() }}{% endmacro %}{{ o() }}",
    "{% for i in xs %}{{ range }}{% endfor %}{% set range = 1 %}",
]


def scopes(chance, depth):
    """A random template of at most this depth."""
    def inner(depth_inside=depth - 1):
        return scopes(chance, depth_inside)

    def statement():
        name, value = chance.choice("xyq"), chance.choice(["1", "2", "'a'", "x", "y", "q"])
        macro, kind = f"m{chance.randrange(2)}", chance.randrange(12)
        if kind < 3:
            return f"{{{{ {name} }}}}"
        if kind < 5 or depth == 0:
            return f"{{% set {name} = {value} %}}"
        if kind == 5:
            middle = chance.choice(["", "{% else %}" + inner(), "{% elif x %}" + inner() + "{% else %}" + inner()])
            return f"{{% if {chance.choice(['z', 'x', 'q', 'not z'])} %}}{inner()}{middle}{{% endif %}}"
        if kind == 6:
            items, otherwise = chance.choice(["xs", "[]", "[7]"]), chance.choice(["", "{% else %}" + inner(0)])
            return f"{{% for {chance.choice('xyqi')} in {items} %}}{inner()}{otherwise}{{% endfor %}}"
        if kind == 7:
            parameters = chance.choice(["", "x", "q=x", "x, y=x", "y=x, x=2"])
            return f"{{% macro {macro}({parameters}) %}}{inner()}{{% endmacro %}}"
        if kind < 10:
            return f"{{% if {macro} %}}{{{{ {macro}() }}}}{{% endif %}}"
        if kind == 10:
            return f"{{% with {name} = {value} %}}{inner()}{{% endwith %}}"
        return f"{{% set {name} %}}{inner()}{{% endset %}}"

    return "".join(statement() for _ in range(chance.randrange(1, 4)))


def generate(seed, count):
    """`count` templates: all of those that are listed, then random ones."""
    templates = [f"{{% set g = {generator} %}}{use}" for generator in GENERATORS for use in USES]
    templates += [place % constant for constant in CONSTANTS for place in PLACES]
    found, chance = dict.fromkeys(templates + SCOPES), random.Random(seed)
    while len(found) < count:
        found.setdefault(scopes(chance, 3))
    return list(found)[:count]
