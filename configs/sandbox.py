"""Jinja templates of strangers: sandboxed, and bounded in length, time and memory.

Prompt and question formats travel inside models, so whoever makes a model writes a template that runs here. Jinja's
sandbox keeps it away from Python; this one also keeps it from running on for ever and from filling the memory: loops,
calls and filters are counted, what could make a large text is measured first, and what no format needs is left out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from configs.sandbox_limits import check_join, check_replace, comparable, comparing, concat, measured, printable

MAX_TEMPLATE = 1 << 16
"""Characters of a template."""
MAX_STEPS = 20_000
"""Turns of loops, operators, calls and filters in one rendering."""
MAX_SECONDS = 2.0
"""Processor time of one rendering."""

_TEXT_FILTERS = "abs capitalize escape int lower replace safe string title trim upper"
_LIST_FILTERS = "count d default first items join last length list rejectattr reverse selectattr"
_COMPARING_TESTS = "!= < <= == > >= divisibleby eq equalto ge greaterthan gt in le lessthan lt ne"
_OTHER_TESTS = (
    "boolean defined even false float integer iterable mapping none number odd sequence string true undefined"
)
_TEXT_METHODS = (
    "capitalize count endswith find index isalnum isalpha isascii isdigit islower isspace isupper lower lstrip"
    " removeprefix removesuffix replace rsplit rstrip split splitlines startswith strip title upper"
)
_TABLE_METHODS = "get items keys values"
_LEFT_OUT = (
    nodes.Block, nodes.CallBlock, nodes.Extends, nodes.FilterBlock, nodes.FromImport, nodes.Import, nodes.Include,
    nodes.Macro, nodes.Pow,
)  # fmt: skip


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """An environment for templates that are not trusted. Use `compile_template` and `fill`."""

    intercepted_binops = frozenset({"+", "*", "%"})

    def __init__(self, **options: Any) -> None:
        # trim_blocks and lstrip_blocks as transformers and llama-cpp-python set them: one template, the same bytes.
        super().__init__(trim_blocks=True, lstrip_blocks=True, optimized=False, finalize=printable, **options)
        self.globals = {name: self.globals[name] for name in ("range", "namespace")}
        filters = f"{_TEXT_FILTERS} {_LIST_FILTERS}".split()
        self.filters = {name: self._bounded(name, self.filters[name]) for name in filters}
        self.tests = {name: self.tests[name] for name in _OTHER_TESTS.split()} | {
            name: comparing(self.tests[name]) for name in _COMPARING_TESTS.split()
        }
        self.concat = concat  # type: ignore[method-assign]
        self._spent = threading.local()

    def compile_template(self, text: str) -> Template:
        """Compile a template.

        Raises:
            TemplateError: it is too long, wrong, or needs something that is left out.
        """
        if len(text) > MAX_TEMPLATE:
            raise TemplateError(f"the template has {len(text):,} characters, more than {MAX_TEMPLATE:,}")
        try:
            return self.from_string(text)
        except (RecursionError, MemoryError, SyntaxError, ValueError) as error:
            raise TemplateError(f"the template cannot be compiled ({type(error).__name__})") from error

    def fill(self, template: Template, **values: object) -> str:
        """Render.

        Raises:
            TemplateError: the template fails, or asks for too much time or memory.
        """
        self._spent.steps, self._spent.until = 0, time.thread_time() + MAX_SECONDS
        try:
            return template.render(**values)
        except TemplateError:
            raise
        except Exception as error:
            raise TemplateError(f"the template fails: {type(error).__name__}: {error}") from error

    def spend(self) -> None:
        """Count one step.

        Raises:
            SecurityError: that was one too many, or the time is over.
        """
        self._spent.steps += 1
        if self._spent.steps > MAX_STEPS or time.thread_time() > self._spent.until:
            raise SecurityError("the template does not come to an end")

    def counted(self, items: Iterable[Any]) -> Iterator[Any]:
        """The items of a loop, each a step."""
        for item in items:
            self.spend()
            yield item

    def concatenated(self, *parts: Any) -> str:
        """What `~` makes."""
        return concat(str(printable(part)) for part in parts)

    def compared(self, value: Any) -> Any:
        """A side of a comparison."""
        return comparable(value)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if not callable(value):
            return super().is_safe_attribute(obj, attr, value)
        methods = _TEXT_METHODS if isinstance(obj, str) else _TABLE_METHODS if isinstance(obj, dict) else ""
        return attr in methods.split() or (isinstance(obj, LoopContext) and attr == "cycle")

    def wrap_str_format(self, value: Any) -> None:
        """`str.format` is left out: its widths make texts of any length."""

    def call(self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        self.spend()
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str) and getattr(__obj, "__name__", "") == "replace":
            check_replace(owner, *args)
        return measured(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self.spend()
        if operator != "+" and not (isinstance(left, (int, float)) and isinstance(right, (int, float))):
            raise SecurityError(f"a format needs {operator} for numbers only")
        return measured(super().call_binop(context, operator, left, right))

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all(_LEFT_OUT):
            raise TemplateError(f"a format needs no {type(node).__name__.lower()}")
        counting: nodes.Template = _Counting().visit(tree)
        counting.set_environment(self)
        return counting

    def _bounded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The filter, counted and its result measured."""
        passed = getattr(function, "jinja_pass_arg", None)  # the evaluation context or the like comes first

        def bounded(*args: Any, **kwargs: Any) -> Any:
            self.spend()
            values = args if passed is None else args[1:]
            for value in values[name in _LIST_FILTERS.split() :]:
                if name not in ("d", "default"):
                    printable(value)
            if name == "replace":
                check_replace(str(values[0]), *values[1:])
            elif name == "join":
                check_join(*values)
            return measured(function(*args, **kwargs))

        if passed is not None:
            bounded.jinja_pass_arg = passed  # type: ignore[attr-defined]
        return bounded


class _Counting(NodeTransformer):
    """Sends what loops go through, what is compared and what `~` joins through the environment."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        self.generic_visit(node)
        if node.recursive:
            raise TemplateError("a format needs no recursive loop")
        node.iter = _through("counted", [node.iter], node.lineno)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:  # noqa: N802
        self.generic_visit(node)
        node.expr = _through("compared", [node.expr], node.lineno)
        for operand in node.ops:
            operand.expr = _through("compared", [operand.expr], node.lineno)
        return node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Tuple:  # noqa: N802
        if node.ctx == "load":
            raise TemplateError("a format needs no tuple")  # whose hash could take for ever
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:  # noqa: N802
        self.generic_visit(node)
        return _through("concatenated", node.nodes, node.lineno)


def _through(method: str, arguments: list[Any], line: int) -> nodes.Call:
    call = nodes.Call(nodes.EnvironmentAttribute(method), arguments, [], None, None)
    call.set_lineno(line)
    return call


def raise_exception(message: str) -> NoReturn:
    """What templates call to refuse a conversation."""
    raise TemplateError(message)
