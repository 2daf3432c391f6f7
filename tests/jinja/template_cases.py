"""Generated templates for template_comparison.py: expressions with each filter, test, method and operator of Jinja, on
values that suit them and on some that do not, and statements around them."""
from template_expressions import CONTEXTS, SET_FILTERS, Expressions

SPECIAL = [
    "{{ lipsum is defined }}", "{{ self is defined }}", "{{ 'wordwrap' is filter }}", "{{ 'nope' is filter }}",
    "{{ 'random' is filter }}", "{{ lipsum }}", "{{ range }}", "{{ dict }}", "{{ 'a'.upper }}", "{{ [].append }}",
    "{{ cycler }}", "{{ messages | map(attribute='role') }}", "{{ '\\N{DIGIT ONE}' }}", "{{ self.x }}",
    "{{ super() }}", "{% for g in messages|groupby('role') %}{{ g.grouper }}{{ g.list|length }}{% endfor %}",
    '{{ "ǆ".title() }}', "{% block a %}x{% endblock %}", "{% include 'x' %}", "{% extends 'x' %}",
    "{% import 'x' as y %}", "{% from 'x' import y %}", "{% autoescape true %}<{% endautoescape %}", "{% do x %}",
    "{{ _('a') }}", "{{ varargs }}", "{{ kwargs }}", "{{ caller }}", "{{ caller is defined }}",
    "{{ loop is defined }}", "{{ environment }}", "{{ context }}", "{{ true.real }}", "{{ strftime_now is defined }}",
    "{{ raise_exception is callable }}", "{{ None }}{{ none }}{{ NONE }}", "{{ x.y is defined }}",
    "{{ True and none }}", "{% trans %}a{% endtrans %}", "{% debug %}", "{{ debug }}",
    "{% call foo() %}{% endcall %}",
]


class Cases(Expressions):
    # -------------------------------------------------------------------------------------------------- statements

    def tag(self, body):
        return "{%" + self.pick(["", "", "", "-", "+"]) + f" {body} " + self.pick(["", "", "", "-", "+"]) + "%}"

    def output(self, depth):
        value = self.any(depth)
        value += self.pick(["", "", "", "|list", "|tojson", "|join(',')", "|string", "|length"])
        return "{{" + self.pick(["", "", "", "-"]) + f" {value} " + self.pick(["", "", "", "-"]) + "}}"

    def loop_body(self, item, depth):
        return self.body(depth - 1) + self.pick(
            [
                f"{{{{ {item} }}}}",
                "{{ loop.index }}{{ loop.last }}",
                f"{{{{ loop.cycle('a', 'b', {item}) }}}}",
                f"{{{{ loop.changed({item}) }}}}",
                "{{ loop.previtem }}|{{ loop.nextitem }}",
                f"{{% if loop.first %}}{self.tag('continue')}{{% endif %}}{{{{ {item} }}}}",
                f"{{% if loop.index > 1 %}}{self.tag('break')}{{% endif %}}x",
                "{{ loop.revindex0 }}/{{ loop.length }}", "{{ loop.depth }}", "{{ loop }}",
                "{% set s = loop.index %}{{ s }}", "{% set ns.i = ns.i + 1 %}{{ ns.i }}",
                "{{ loop.revindex }}{{ loop.index0 }}{{ loop.first }}{{ loop.depth0 }}", "{{ loop.x }}",
                "{{ loop.nextitem is defined }}",
            ]
        )

    def statement(self, depth):
        item = self.pick(["x", "i", "m"])
        return self.pick(
            [
                lambda: self.output(depth),
                lambda: self.tag(f"set {item} = {self.any(depth)}") + f"{{{{ {item} }}}}",
                lambda: self.tag(f"set a, b = {self.pick(['1, 2', 'pairs[0]', self.list(0), '(3, [4])'])}")
                + "{{ a }}{{ b }}",
                lambda: self.tag(f"set {item}")
                + self.body(depth - 1)
                + self.tag("endset")
                + f"{{{{ {item}|length }}}}",
                lambda: self.tag(
                    f"set {item} | "
                    f"{self.pick(SET_FILTERS)}"
                )
                + self.body(depth - 1)
                + self.tag("endset")
                + f"{{{{ {item} }}}}",
                lambda: self.tag(f"if {self.truth(depth)}")
                + self.body(depth - 1)
                + self.pick(["", self.tag("elif " + self.truth(0)) + "e"])
                + self.pick(["", self.tag("else") + self.body(depth - 1)])
                + self.tag("endif"),
                lambda: self.tag(
                    f"for {item} in {self.list(depth)}{self.pick(['', ' if ' + self.truth(0), ' if ' + item])}"
                )
                + self.loop_body(item, depth)
                + self.pick(["", self.tag("else") + "none"])
                + self.tag("endfor"),
                lambda: self.tag(
                    f"for {self.pick(['k, v', '(k, v)', 'k, v,'])} in "
                    f"{self.pair_source(depth)}"
                )
                + "{{ k }}={{ v }};"
                + self.tag("endfor"),
                lambda: self.tag("for b in tree recursive")
                + "{{ b.v }}{{ loop.depth }}{% if b.sub %}[{{ loop(b.sub) }}]{% endif %}"
                + self.tag("endfor"),
                lambda: self.tag(
                    f"for g in {self.list(0)}|groupby("
                    f"{self.quoted(self.pick(['role', 'age', 'name', 'city.name', '0']))})"
                )
                + "{{ g.grouper }}:{{ g.list|length }}{{ g[0] }}{{ g }}"
                + self.tag("endfor"),
                lambda: self.tag(f"macro m(p, q={self.any(0)}{self.pick(['', ', r=p'])})")
                + self.pick(
                    [
                        "{{ p }}-{{ q }}", "{{ varargs }}{{ kwargs }}{{ p }}",
                        "{{ caller() if caller else 'no' }}{{ p }}",
                        self.body(depth - 1),
                        "{{ caller('c') }}", "{{ m.name }}{{ m.arguments }}{{ q }}",
                    ]
                )
                + self.tag("endmacro")
                + self.pick(
                    [
                        "{{ m(1) }}",
                        "{{ m(" + self.any(0) + ", q=2) }}",
                        "{{ m(1, 2, 3, 4) }}", "{{ m(q=1, z=3) }}", "{{ m() }}",
                        "{% call m(1) %}body{{ n }}{% endcall %}", "{% call(u) m(1) %}<{{ u }}>{% endcall %}",
                        "{{ m(*[1, 2]) }}", "{{ m(**{'p': 5}) }}", "{{ m }}", "{{ m(1)|upper }}",
                        "{{ m.x }}{{ m.catch_kwargs }}{{ m.caller }}",
                    ]
                ),
                lambda: self.tag(
                    f"filter "
                    f"{self.filter_of_block()}"
                )
                + self.body(depth - 1)
                + self.tag("endfilter"),
                lambda: self.tag(
                    f"with {self.pick([item + ' = ' + self.any(depth), item + ' = 1, y = ' + item, ''])}"
                )
                + self.body(depth - 1)
                + f"{{{{ {item} }}}}"
                + self.tag("endwith"),
                lambda: self.tag("set ns = namespace(i=0, t='')")
                + self.tag(f"for x in {self.list(0)}")
                + "{% set ns.i = ns.i + loop.index %}{% set ns.t = ns.t ~ x %}"
                + self.tag("endfor")
                + "{{ ns.i }}{{ ns.t }}{{ ns }}",
                lambda: self.tag("set c = cycler('o', 'e', 3)")
                + "{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.reset() }}{{ c.pos }}"
                + self.pick(["", "{{ c.items }}", "{{ c }}"]),
                lambda: self.tag(f"set j = joiner({self.pick(['', self.quoted('; ')])})")
                + "{{ j() }}{{ j() }}{{ j() }}{{ j.used }}",
                lambda: self.tag(
                    f"set g = {self.list(0)}|"
                    f"{self.generator_filter()}"
                )
                + self.pick(
                    [
                        "{{ g|list }}{{ g|list }}", "{{ g|length }}", "{{ g is sequence }}{{ g is iterable }}",
                        "{% if g %}yes{% endif %}", "{{ g|first }}{{ g|first }}", "{{ g[0] }}", "{{ 'a' in g }}",
                        "{% for x in g %}{{ x }}{{ loop.last }}{{ loop.index }}{% endfor %}", "{{ g }}",
                        "{{ g|last }}", "{{ g|tojson }}",
                        "{% for x in g %}{{ loop.length }}{{ loop.revindex }}{% endfor %}",
                        "{{ g == g }}{{ g|join }}",
                    ]
                ),
                lambda: "{% raw %}" + self.pick(["{{ x }}", " {% if %} ", "a\n", ""]) + "{% endraw %}",
                lambda: "{#" + self.pick(["", "-", "+"]) + " c " + self.pick(["", "-", "+"]) + "#}",
                lambda: self.tag("generation") + self.body(depth - 1) + self.tag("endgeneration"),
                lambda: self.tag(f"print {self.any(0)}, {self.any(0)}"),
                lambda: self.scoped(depth),
            ]
        )()

    def scoped(self, depth):
        """Where a name that is set can be seen."""
        return self.pick(
            [
                "{% for i in [1, 2] %}{{ q }}{% set q = i %}{{ q }}{% endfor %}{{ q }}",
                "{% set q = 1 %}{% for i in [1, 2] %}{{ q }}{% set q = q + i %}{{ q }}{% endfor %}{{ q }}",
                "{% if yes %}{% set q = 1 %}{% endif %}{{ q }}",
                "{% if not yes %}{% set n = 'set' %}{% endif %}{{ n }}",
                "{% macro k() %}{{ q }}{% set q = 2 %}{{ q }}{% endmacro %}{% set q = 1 %}{{ k() }}{{ q }}",
                "{% set q = 1 %}{% macro k() %}{{ q }}{% endmacro %}{% set q = 2 %}{{ k() }}",
                "{% macro k() %}{{ q }}{% endmacro %}{{ k() }}{% set q = 1 %}{{ k() }}",
                "{% macro k(n) %}{{ n }}{% endmacro %}{{ k() }}{{ k(4) }}{{ n }}",
                "{% for n in [7] %}{{ n }}{% endfor %}{{ n }}",
                "{% with n = 9 %}{{ n }}{% set n = 8 %}{{ n }}{% endwith %}{{ n }}",
                "{% for x in [1, 2] %}{% macro k() %}{{ x }}{{ loop.index }}{% endmacro %}{{ k() }}{% endfor %}",
                "{% set loop = 5 %}{{ loop }}{% for x in [1] %}{{ loop.index }}{% endfor %}{{ loop }}",
                "{% for x in [1, 2] %}{% for y in [3, 4] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
                "{% filter upper %}{% set q = 'a' %}{{ q }}{% endfilter %}{{ q }}",
                "{% set q %}{% set r = 1 %}{{ r }}{% endset %}{{ q }}{{ r }}",
                "{% for x in [1, 2, 3] if loop.index > 1 %}{{ x }}{% endfor %}",
                "{% for x in x %}{{ x }}{% endfor %}", "{% for x in [1] %}{% else %}{{ loop.index }}{% endfor %}",
                "{% for x in [] %}{% else %}{{ loop }}{% endfor %}",
                "{% for x in [[1, 2], [3]] %}{% for y in x %}{{ y }}{{ loop.parent }}{% endfor %}{% endfor %}",
                "{% set n = n %}{{ n }}", "{% set n = n + 1 %}{{ n }}{% set n = n + 1 %}{{ n }}",
                "{% macro a(x) %}{% if x > 0 %}{{ x }}{{ a(x - 1) }}{% endif %}{% endmacro %}{{ a(3) }}",
                "{% macro a() %}{{ caller(1, 2) }}{% endmacro %}{% call(x, y=5) a() %}{{ x }}{{ y }}{% endcall %}",
                "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
                "{% set (a, b) = [1, 2] %}{{ a }}{{ b }}", "{% for ns.x in [1] %}{{ x }}{% endfor %}",
                "{% set d.a = 1 %}{{ d.a }}", "{% with a = 1, b = a %}{{ b }}{% endwith %}",
                "{% with ns.a = 1 %}{% endwith %}",
                "{% set ns = namespace(d) %}{{ ns.a }}{% set ns.z = 1 %}{{ ns.z }}{{ ns }}",
                "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(1, a=2) }}",
                "{% macro m(a, a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{{ dict(a=1, a=2) }}",
                "{% macro m(x=1, y) %}{% endmacro %}", "{% set true = 1 %}", "{% for none in [1] %}{% endfor %}",
                "{% set range = 5 %}{{ range }}", "{% macro range() %}r{% endmacro %}{{ range() }}", "{{ n.x.y }}",
                "{{ missing.x }}", "{% set x = 1, 2 %}{{ x }}",
                "{% set x = [] %}{% for i in l %}{% set x = x + [i] %}{% endfor %}{{ x }}",
                "{% if true %}{% if false %}a{% else %}b{% endif %}{% elif x %}c{% endif %}",
                "{%if n%}a{%endif%}{{n}}{{-n-}} {{ n }}",
                "{% for x in l recursive %}{{ loop([]) }}{{ x }}{% endfor %}",
                "{% for x in l %}{{ loop([]) }}{% endfor %}",
            ]
        )

    def words(self):
        return self.pick(
            ["", "", " ", "\n", "text", "  \n", "\n\n", "a\tb", "{", "}", " x\n  ", "é", "%}", "\n \t", "{ {", "\r\n"]
        )

    def body(self, depth):
        if depth <= 0:
            return self.words() + self.pick(["", "x", "{{ n }}", "{{ s }}"])
        return "".join(
            self.words() + self.statement(depth - 1) + self.words() for _ in range(self.random.randrange(1, 3))
        )

    def case(self):
        kind = self.random.random()
        if kind < 0.02:
            return self.pick(SPECIAL)
        if kind < 0.65:
            return (
                "{{ "
                + self.any(self.pick([0, 1, 1, 2, 2, 3]))
                + self.pick(["", "", "", "|list", "|tojson", "|string", "|tojson(sort_keys=true, indent=1)"])
                + " }}"
            )
        if kind < 0.7:
            return self.scoped(1)
        return self.body(self.pick([1, 2, 2, 3]))


def generate(seed, count):
    """`count` different templates with the number of the context that they are rendered with."""
    cases, found = Cases(seed), {}
    while len(found) < count:
        found.setdefault((cases.case(), cases.random.randrange(len(CONTEXTS))))
    return list(found)
