"""Templates for template_comparison.py about what has attributes and is no dict - groups, namespaces, loops, cyclers,
macros, texts - in each place where the name of an attribute is given as a text."""

SOURCES = {  # a list of objects, what stands around its use, and the attributes to ask for
    "ms|groupby('r')": ("%s", ["grouper", "list", "0", "1", "list.0", "list.0.a", "1.0.a", "count", "nope", "-1"]),
    "ms|groupby('a')|list": ("%s", ["grouper", "list", "list.0.r", "0"]),
    "ms|groupby('r')|reverse": ("%s", ["grouper", "list.0.a"]),
    "words|groupby('upper')": ("%s", ["grouper", "list"]),
    "[namespace(a=2, b='y'), namespace(a=1, b='x')]": ("%s", ["a", "b", "nope", "0", "b.upper"]),
    "[namespace(a=namespace(c=2)), namespace(a=namespace(c=1))]": ("%s", ["a.c", "a", "a.nope"]),
    "[loop]": ("{%% for i in ls %%}%s;{%% endfor %%}",
               ["index", "index0", "first", "last", "length", "revindex", "revindex0", "depth", "depth0", "previtem",
                "nextitem", "nope", "0"]),
    "[cycler(1, 2), cycler(5, 4)]": ("%s", ["current", "pos", "items", "items.0", "nope", "next"]),
    "[joiner('-'), joiner()]": ("%s", ["sep", "used", "nope"]),
    "[m, o]": ("{%% macro m(a, b=1) %%}{%% endmacro %%}{%% macro o() %%}{{ varargs }}{%% endmacro %%}%s",
               ["name", "arguments", "arguments.0", "catch_kwargs", "catch_varargs", "caller", "nope"]),
    "words": ("%s", ["0", "upper", "nope", "1"]),
    "[(1, 'b'), (2, 'a')]": ("%s", ["0", "1", "count", "nope", "2"]),
    "[d, {'a': 0, 'items': 3}]": ("%s", ["a", "items", "nope", "b"]),
    "[1, 2.5, true, none]": ("%s", ["real", "nope"]),
    "[d.items(), range(3)]": ("%s", ["0", "start", "nope"]),
}
USES = [
    "{{ %(s)s|map(attribute='%(a)s')|list }}", "{{ %(s)s|map(attribute='%(a)s')|map('string')|list }}",
    "{{ %(s)s|map(attribute='%(a)s', default='-')|list }}", "{{ %(s)s|join(',', attribute='%(a)s') }}",
    "{{ %(s)s|selectattr('%(a)s')|list|length }}", "{{ %(s)s|rejectattr('%(a)s')|list|length }}",
    "{{ %(s)s|selectattr('%(a)s', 'defined')|list|length }}", "{{ %(s)s|selectattr('%(a)s', 'eq', 'u')|list|length }}",
    "{{ %(s)s|rejectattr('%(a)s', 'string')|list|length }}", "{{ %(s)s|unique(attribute='%(a)s')|list|length }}",
    "{{ %(s)s|sort(attribute='%(a)s')|map(attribute='%(a)s')|list }}",
    "{{ %(s)s|sort(attribute='%(a)s', reverse=true)|map(attribute='%(a)s')|join(';') }}",
    "{{ (%(s)s|min(attribute='%(a)s'))['%(a)s'] }}", "{{ (%(s)s|max(attribute='%(a)s'))['%(a)s'] }}",
    "{{ %(s)s|sum(attribute='%(a)s') }}", "{%% for g in %(s)s|groupby('%(a)s') %%}{{ g.grouper }};{%% endfor %%}",
    "{{ (%(s)s)[0]['%(a)s'] }}", "{{ (%(s)s|list)[0]['%(a)s'] is defined }}", "{{ (%(s)s|list)[0]['%(a)s']|length }}",
    "{%% set q = (%(s)s|list)[0] %%}{{ q|attr('%(a)s') }}",
    "{%% for k, v in %(s)s %%}{{ k }}{{ v|length }}{%% endfor %%}",
    "{%% set k, v = (%(s)s|list)[0] %%}{{ k }}{{ v|length }}", "{{ '%(a)s' in (%(s)s|list)[0] }}",
    "{%% set a = '%(a)s' %%}{{ (%(s)s|list)[-1][a] }}",
]


def generate(count):
    """All of them, `count` at most."""
    templates = [around % (use % {"s": source, "a": attribute})
                 for source, (around, attributes) in SOURCES.items() for attribute in attributes for use in USES]
    return list(dict.fromkeys(templates))[:count]
