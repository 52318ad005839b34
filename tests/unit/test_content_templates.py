"""Templates that models bring along: what gets out of a template is found however it is spelt, and what they usually do is not minded."""

from __future__ import annotations

import json

import pytest

from governance.content.effort import Effort, SpentError
from governance.content.inspection import inspect, must_look
from governance.content.judgement import judge
from governance.content.templates import COMPUTED, TemplateUnreadError, template_reaches

ESCAPE = (
    "{% for x in ().__class__.__base__.__subclasses__() %}{% if 'warning' in x.__name__ %}"
    "{{ x()._module.__builtins__['__import__']('os').popen('true').read() }}{% endif %}{% endfor %}"
)
USUAL = """
{%- if tools is not defined %}{% set tools = none %}{% endif %}
{%- set ns = namespace(found=false, last=messages|length - 1, names=['user'], text='') %}
{%- set shown = {"tool_call": "call", "str": "string"} %}
{%- macro render(items, depth=0) %}
  {%- for key, value in items|dictsort %}{{ key | upper }}: {{ value | tojson(indent=2) }}{%- endfor %}
  {%- for key in items %}{{ items[key] }}{{ items[key|lower] }}{{ shown[items.type] }}{% endfor %}
  {%- if items.type is iterable %}{% for t in items.type %}{{ render({"type": t}, depth + 1) }}{% endfor %}{% endif %}
{%- endmacro %}
{%- if messages[0]['role'] == 'system' %}{% set system = messages[0].content | trim %}{% set rest = messages[1:] %}
{%- else %}{% set system = '' %}{% set rest = messages %}{% endif %}
{{- bos_token + '<|im_start|>system\\n' ~ strftime_now("%d %b %Y") }}
{%- for message in messages[::-1] %}
  {%- set i = (messages|length - 1) - loop.index0 %}
  {%- set ns.names = ns.names + [message.role.split('.')[0]] %}
  {%- if messages[loop.index0 - 1].role == message.role and messages[i + 1] is defined %}{% set ns.last = i %}{% endif %}
  {%- if message['content'] is string and not message.content.startswith('<tool_response>') %}
    {{- message.content.split('</think>')[-1].lstrip('\\n') | replace('__media__', '') }}
  {%- elif message.tool_calls %}{{ render(message.tool_calls[0].function.arguments.items()|list) }}
  {%- else %}{{ raise_exception('roles must alternate: ' + message.role) }}{% endif %}
  {%- generation %}{{ message.content }}{% endgeneration %}{% if loop.last %}{% break %}{% endif %}
{%- endfor %}
{%- for name in ns.names %}{{ descriptions[name] if name in descriptions else '' }}{% endfor %}
{{- messages[ns.last].content if add_generation_prompt else eos_token }}
{%- for role in ['tool_role', 'user_role'] %}{{ names[role] }}{% endfor %}
"""


def reaches(template: str) -> frozenset[str]:
    return template_reaches(template, Effort())


def test_what_templates_usually_do_is_not_minded() -> None:
    assert reaches(USUAL) == frozenset()


@pytest.mark.parametrize(
    "template",
    [
        "{{ ().__class__ }}",
        "{{ ()['__class__'] }}",
        "{{ ()['\\x5f\\x5fclass__'] }}",
        "{{ ()[\"__cla\" 'ss__'] }}",
        "{{ ()|attr('__class__') }}",
        "{{ [()]|map(attribute='__class__')|list }}",
        "{{ [()]|map('attr', '__class__')|list }}",
        "{{ [()]|sort(attribute='a.__class__') }}",
        "{{ ()[dict(__class__=1)|first] }}",
        "{{ '{0.__class__}'.format(()) }}",
        "{% set a = '__class__' %}{{ ()[a] }}",
        "{% generation %}{{ ().__class__ }}{% endgeneration %}",
        "{% filter upper %}{{ ().__class__ }}{% endfilter %}",
    ],
)
def test_an_attribute_is_seen_however_it_is_written(template: str) -> None:
    assert "?template.__class__" in reaches(template)


MAKES = {
    "joined": "'__cla' ~ 'ss__'",
    "added": "'__cla' + 'ss__'",
    "repeated": "'_' * 2",
    "formatted": "'%sclass' % '__'",
    "formatted by a filter": "'%c' | format(95)",
    "joined by a filter": "['__cla', 'ss__'] | join",
    "reversed": "'__ssalc__'[::-1]",
    "reversed by a filter": "'__ssalc__' | reverse",
    "cut": "'x__class__'[1:]",
    "replaced": "'XXclassXX'.replace('X', '_')",
    "small letters": "'_' ~ '_CLASS__' | lower",
    "letters of a text": "('__class__x' | list)[0]",
    "split": "'__class__ x'.split()[0]",
    "keys of a mapping": "dict(__cla=1, ss__=2) | join",
    "letters of a key": "({'__ssalc__': 1} | list)[0] | reverse",
    "a special token": "bos_token",
    "text of an object": "(lipsum | string)[18]",
    "one of two": "('a' ~ 'b') if x else 'c'",
    "a default": "none | default('a' ~ 'b')",
    "in a list": "[['a' ~ 'b']][0][0]",
    "in a mapping": "{'k': 'a' ~ 'b'}.k",
    "in a cycle": "cycler('a' ~ 'b').next()",
}


@pytest.mark.parametrize("how", list(MAKES))
def test_a_name_that_the_template_makes_is_not_looked_up_unseen(how: str) -> None:
    assert COMPUTED in reaches(f"{{{{ ()[{MAKES[how]}] }}}}")


@pytest.mark.parametrize(
    "template",
    [
        "{% set a = MADE %}{{ ()[a] }}",
        "{% set b = a %}{% set a = MADE %}{{ ()[b] }}",
        "{% set a, b = MADE, 1 %}{{ ()[a] }}",
        "{% set a %}__class__{% endset %}{{ ()[a] }}",
        "{% with a = MADE %}{{ ()[a] }}{% endwith %}",
        "{% for a in [MADE] %}{{ ()[a] }}{% endfor %}",
        "{% for a in [MADE, 1] %}{{ ()[loop.previtem] }}{% endfor %}",
        "{% for a in [1] %}{{ ()[loop.cycle(MADE)] }}{% endfor %}",
        "{% macro m(a) %}{{ ()[a] }}{% endmacro %}{{ m(MADE) }}",
        "{% macro m(a) %}{{ ()[a] }}{% endmacro %}{{ m(a=MADE) }}",
        "{% macro m(a) %}{{ ()[a] }}{% endmacro %}{{ m(*[MADE]) }}",
        "{% macro m(a=MADE) %}{{ ()[a] }}{% endmacro %}",
        "{% macro m() %}{{ ()[varargs[0]] }}{% endmacro %}{{ m(MADE) }}",
        "{% macro m() %}__class__{% endmacro %}{{ ()[m()] }}",
        "{% call(a) m() %}{{ ()[a] }}{% endcall %}{% macro m() %}{{ caller(MADE) }}{% endmacro %}",
        "{% macro m(a) %}{{ ()[a] }}{% endmacro %}{% macro m(b) %}{% endmacro %}{{ m(MADE) }}",
        "{% macro m(a) %}{{ ()[a] }}{% endmacro %}{% set d = {'append': m} %}{{ d.append(MADE) }}",
        "{% call(a) m() %}{{ ()[a] }}{% endcall %}{% macro m() %}{% set c = caller %}{{ c(MADE) }}{% endmacro %}",
        "{% set ns = namespace({'a': MADE}) %}{{ ()[ns.a] }}",
        "{% set ns = namespace() %}{% set ns.a = MADE %}{{ ()[ns.a] }}",
        "{% set ns = namespace(a=MADE) %}{% set other = ns %}{{ ()[other['a']] }}",
        "{% set ns = namespace(a_b=MADE) %}{% set k = 'a_b' %}{{ ()[ns[k]] }}",
        "{% set l = [] %}{% set _ = l.append(MADE) %}{{ ()[l[0]] }}",
        "{% set d = {'l': []} %}{% do d.l.append(MADE) %}{{ ()[d['l'] | first] }}",
        "{% set d = {} %}{% set _ = d.update({'k': MADE}) %}{{ ()[d.get('k')] }}",
        "{{ ()|attr(MADE) }}",
        "{{ ()|attr(request) }}",
        "{{ [()]|map('attr', MADE)|list }}",
        "{{ [()]|map(attribute=MADE)|list }}",
    ],
)
def test_a_made_name_is_known_whatever_it_went_through(template: str) -> None:
    assert COMPUTED in reaches(template.replace("MADE", "'__cla' ~ 'ss__'"))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("chat_template.jinja", ESCAPE.encode()),
        ("additional_chat_templates/tool_use.JINJA", b"\xef\xbb\xbf" + ESCAPE.encode()),
        ("tokenizer_config.json", json.dumps({"chat_template": ESCAPE}).encode()),
        ("tokenizer_config.json", b'{"chat\\u005ftemplate": ' + json.dumps(ESCAPE).encode() + b"}"),
        (
            "m/tokenizer_config.json",
            json.dumps({"chat_template": [{"name": "d", "template": ESCAPE}]}).encode(),
        ),
        ("processor_config.json", json.dumps({"chat_template": {"default": ESCAPE}}).encode()),
        ("chat_template.json", json.dumps({"chat_template": ESCAPE}, indent=1).encode("utf-16")),
        ("anything.json", json.dumps({"deep": [{"chat_template": ESCAPE}]}).encode()),
        ("config.json", json.dumps({"model_type": "x", "chat_template": ESCAPE}).encode()),
    ],
)
def test_a_template_that_gets_out_is_malicious_wherever_models_keep_theirs(name: str, data: bytes) -> None:
    found = inspect(name, data)
    assert {"?template.__subclasses__", "?template.__builtins__"} <= set(found.imports)
    assert judge(found.imports, is_broken=False) == "malicious"


def test_what_is_only_odd_is_suspicious() -> None:
    for template in ("{{ x.__class__ }}", "{{ x._private }}", "{{ ()['a' ~ 'b'] }}"):
        assert (
            judge(inspect("chat_template.jinja", template.encode()).imports, is_broken=False) == "suspicious"
        )


def test_files_that_hold_templates_are_read_whole() -> None:
    for name in ("tokenizer_config.json", "a/chat_template.jinja", "Processor_Config.json"):
        assert must_look(name, b'{"a": 1}' + b" " * 4_088, 1 << 20)
    assert not must_look("tokenizer.json", b'{"a": 1}' + b" " * 4_088, 1 << 20)


@pytest.mark.parametrize(
    "data", [b"{{ a", b"{% nothing %}", b"{{" + b"(" * 50_000, b"{{" + b"9" * 5_000 + b"}}", b"{{ '\xff' }}"]
)
def test_a_template_that_cannot_be_read_is_not_clean(data: bytes) -> None:
    found = inspect("chat_template.jinja", data)
    assert (found.skipped or "").startswith("a template that")


def test_a_document_that_holds_none_is_as_before() -> None:
    for data in (b'{"chat_template": null}', b'{"chat_template": "hello"}', b"no json", b"{}"):
        found = inspect("tokenizer_config.json", data)
        assert (found.imports, found.skipped, found.broken) == ((), None, None)
    assert inspect("tokenizer_config.json", b"[" * 100_000 + b"]" * 100_000).broken


def test_the_look_is_bounded() -> None:
    with pytest.raises(TemplateUnreadError, match="more than"):
        reaches("{" * 300_000)
    with pytest.raises(SpentError):
        template_reaches("{{ a }}" * 1_000, Effort(operations=10_000))
    chain = (
        "".join(f"{{% set a{at} = a{at + 1} %}}" for at in range(500))
        + "{% set a500 = 'a' ~ 'b' %}{{ ()[a0] }}"
    )
    assert reaches(chain) == {COMPUTED}
