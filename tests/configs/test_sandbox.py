"""Templates of strangers end: with a text, or with a sentence, and soon."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from jinja2 import TemplateError

from configs.errors import ConfigError
from configs.prompt import PromptFormat
from configs.sandbox import MAX_TEMPLATE, BoundedEnvironment


def fill(template: str, **values: object) -> str:
    environment = BoundedEnvironment()
    return environment.fill(environment.compile_template(template), **values)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for x in range(3) %}{{ loop.index }}{{ ',' if not loop.last }}{% endfor %}", "1,2,3"),
        ("{{ 'a' ~ 1 ~ none ~ missing }}", "a1None"),
        ("{% set n = namespace(k=0) %}{% for x in items %}{% set n.k = n.k + x %}{% endfor %}{{ n.k * 2 }}", "12"),
        ("{% for key, value in table.items() %}{{ key }}={{ value }};{% endfor %}", "a=1;b=2;"),
        ("{{ items | join('-') }} {{ ' x ' | trim }} {{ 'aXa' | replace('X', 'yy') }}", "1-2-3 x ayya"),
        ("{{ ' a b '.strip().split(' ')[1].upper() }}{{ 'q'.startswith('q') }}", "BTrue"),
        ("{{ (messages | selectattr('role', 'equalto', 'user') | list | first).content }}", "hi"),
        (
            "{{ 2 in items }}{{ 'a' in table }}{{ items == [1, 2, 3] }}{{ 4 is even }}{{ x is defined }}",
            "TrueTrueTrueTrueFalse",
        ),
        ("{{ messages[-1].get('role') }}{{ messages[0]['role'] != 'user' }}", "userTrue"),
        ("{% set x %}a{% for i in items %}{{ i }}{% endfor %}{% endset %}{{ x }}", "a123"),
    ],
)
def test_what_formats_need_works(template: str, text: str) -> None:
    messages = [{"role": "system", "content": "no"}, {"role": "user", "content": "hi"}]
    assert fill(template, items=[1, 2, 3], table={"a": 1, "b": 2}, messages=messages) == text


DEEP = (
    "{% set n = namespace(t=[1], u=[1]) %}"
    "{% for a in range(64) %}{% set n.t = [n.t, n.t] %}{% set n.u = [n.u, n.u] %}{% endfor %}"
)
BOMBS = [
    *(
        DEEP + "{{ " + use + " }}"
        for use in (
            "n.t == n.u",
            "n.t in [n.u]",
            "n.t is eq n.u",
            "n.t is in [n.u]",
            "n.t | upper",
            "n.t | trim",
            "n.t | safe",
            "n.t | escape",
            "n.t | title",
            "[n.t].index(n.u)",
            "[n.t].count(n.u)",
            "{'a': n.t} == {'a': n.u}",
            "[{'a': n.t}] | selectattr('a', 'eq', n.u) | list | length",
            "'x' | replace(n.t, 'y')",
            "missing | default(n.t)",
            "n.t | int",
            "['x'] | join(n.t)",
        )
    ),
    DEEP + "{% for a in [n.t, n.u] %}{{ loop.changed(a) }}{% endfor %}",
    "{% set n = namespace(t=(1, 1)) %}{% for a in range(64) %}{% set n.t = (n.t, n.t) %}{% endfor %}{{ {n.t: 1} | length }}",
    "{{ (5).to_bytes(9999999999, 'big') | length }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{% if b > 9998 %}x{% endif %}{% endfor %}{% endfor %}",
    "{% set n = namespace(t='x') %}{% for a in range(64) %}{% set n.t = n.t + n.t %}{% endfor %}{{ n.t }}",
    "{% set n = namespace(t='x') %}{% for a in range(64) %}{% set n.t = n.t ~ n.t %}{% endfor %}{{ n.t }}",
    "{% set n = namespace(t='xx') %}{% for a in range(9) %}{% set n.t = n.t.replace('x', n.t) %}{% endfor %}{{ n.t }}",
    "{% set n = namespace(t='xx') %}{% for a in range(9) %}{% set n.t = n.t | replace('x', n.t) %}{% endfor %}",
    "{% set n = namespace(t=9) %}{% for a in range(64) %}{% set n.t = n.t * n.t %}{% endfor %}{{ n.t }}",
    "{% set n = namespace(t=[1]) %}{% for a in range(64) %}{% set n.t = n.t + n.t %}{% endfor %}{{ n.t }}",
    "{% set n = namespace(t=[1]) %}{% for a in range(64) %}{% set n.t = [n.t, n.t] %}{% endfor %}{{ n.t }}",
    "{% set n = namespace(t=[1]) %}{% for a in range(64) %}{% set n.t = [n.t, n.t] %}{% endfor %}{{ n.t | string }}",
    "{% set n = namespace(t=[1]) %}{% for a in range(64) %}{% set n.t = [n.t, n.t] %}{% endfor %}{{ 'a' ~ n.t }}",
    "{% set n = namespace(t='x') %}{% for a in range(64) %}{% set n.t = [n.t, n.t] | join %}{% endfor %}{{ n.t }}",
    "{% set n = namespace(t='x') %}{% for a in range(64) %}{% set n.t %}{{ n.t }}{{ n.t }}{% endset %}{% endfor %}",
    "{% for a in range(9999) %}{{ big }}{% endfor %}",
    "{{ 'x' * 9999999999 }}",
    "{{ [1] * 9999999999 }}",
    "{{ 9 ** 99999999 }}",
    "{{ 'x' | center(9999999999) }}",
    "{{ 'x'.center(9999999999) }}",
    "{{ 'x'.ljust(9999999999) }}",
    "{{ '%9999999999d' % 1 }}",
    "{{ '{:>9999999999}'.format(1) }}",
    "{{ '%9999999999d' | format(1) }}",
    "{{ 'x' | indent(9999999999) }}",
    "{{ lipsum(99999999) }}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for a in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
    "{% include 'x' %}",
    "{{ (" + "(" * 3000 + "1" + ")" * 3000 + ") }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ messages.__class__ }}",
    "x" * (MAX_TEMPLATE + 1),
    "{{ 1 // 0 }}",
]


@pytest.mark.parametrize("number", range(len(BOMBS)))
def test_a_bomb_ends_in_a_sentence(number: int) -> None:
    with pytest.raises(TemplateError):
        fill(BOMBS[number] + "{{ undefined_thing.more }}", big="x" * 100_000)


def test_no_bomb_takes_memory_or_time() -> None:
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20)); resource.setrlimit(resource.RLIMIT_CPU, (60, 60))\n"
        "from tests.configs.test_sandbox import BOMBS, fill\n"
        "from jinja2 import TemplateError\n"
        "for bomb in BOMBS:\n"
        "    try: fill(bomb, big='x' * 100_000)\n"
        "    except TemplateError as error:\n"
        "        assert 'MemoryError' not in str(error), bomb[:100]\n"
        "        continue\n"
        "    assert '__' in bomb, bomb[:100]\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 60


def test_a_prompt_format_that_never_ends_is_refused_in_a_sentence() -> None:
    table = PromptFormat.load("alpaca2").model_dump()
    table["template"] += "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(ConfigError, match="does not come to an end"):
        PromptFormat.from_table(table, "stranger")


def test_a_trap_that_springs_on_a_certain_message_only_is_a_sentence_too() -> None:
    table = PromptFormat.load("alpaca2").model_dump()
    table["template"] += (
        "{% if messages[-1]['content'] == 'now' %}"
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}"
    )
    prompt_format = PromptFormat.from_table(table, "stranger")
    prompt_format.prompt([{"role": "user", "content": "later"}])
    with pytest.raises(ConfigError, match="does not come to an end"):
        prompt_format.prompt([{"role": "user", "content": "now"}])
