"""Formulas as the docstrings write them, in MathML, which browsers typeset without a script."""

from __future__ import annotations

import re
from html import escape
from typing import NamedTuple

GREEK = {name: f"&{name};" for name in ("alpha", "beta", "gamma", "delta", "epsilon", "pi", "tau")}
MINUS = "&#x2212;"
RELATIONS = {"=": "=", "==": "=", "<=": "≤", ">=": "≥", "<": "&lt;", ">": "&gt;"}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign>\*\*|<=|>=|==|[-+*/^@|(),\[\]=<>]))"
)
_JUXTAPOSED = "<mo>&#x2062;</mo>"
_SPACE = '<mspace width="0.2em"/>'
_WORD = "<mtext>"
_FUNCTION = '<mi mathvariant="normal">'


class FormulaError(ValueError):
    """The text is no formula."""


class Token(NamedTuple):
    """A number, a name, a sign or the end, and whether it follows the one before at once."""

    kind: str
    text: str
    is_close: bool


class Node(NamedTuple):
    """A part of a formula; `bare` is what stands between its parentheses, if it has them."""

    markup: str
    bare: str | None = None

    @property
    def alone(self) -> str:
        """As a numerator, a denominator or an exponent, which needs no parentheses."""
        return _row(self.markup if self.bare is None else self.bare)


def mathml(text: str, display: bool = False) -> str:
    """The formula as a `<math>` element.

    Raises:
        FormulaError: If the text is no formula.
    """
    parser = _Parser(_tokens(text))
    markup = parser.relation().markup
    parser.expect("end", "")
    block = ' display="block"' if display else ""
    return f'<math{block} alttext="{escape(text)}">{_row(markup)}</math>'


def _tokens(text: str) -> list[Token]:
    found, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise FormulaError(f"{text!r} has {text[position:]!r}; expected a formula")
        kind = str(match.lastgroup)
        found.append(Token(kind, match[kind], match.start(kind) == position))
        position = match.end()
    return [*found, Token("end", "", False)]


class _Parser:
    """Recursive descent. A name close to a parenthesis is a function, one before a space a factor.

    Products bind like quotients, from the left: `a / b c` is a over b, times c.
    """

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.bars = 0

    @property
    def next(self) -> Token:
        return self.tokens[self.position]

    def take(self) -> Token:
        self.position += 1
        return self.tokens[self.position - 1]

    def takes(self, *signs: str) -> str | None:
        return self.take().text if self.next.kind == "sign" and self.next.text in signs else None

    def expect(self, kind: str, text: str) -> None:
        token = self.take()
        if (token.kind, token.text) != (kind, text):
            raise FormulaError(f"{token.text!r} where {text or kind!r} is expected")

    def relation(self) -> Node:
        left = self.choice()
        while sign := self.takes(*RELATIONS):
            left = Node(f"{left.markup}<mo>{RELATIONS[sign]}</mo>{self.choice().markup}")
        return left

    def choice(self) -> Node:
        value = self.sum()
        cases = []
        while (self.next.kind, self.next.text) == ("name", "if"):
            self.take()
            cases.append((value.markup, f"<mtext>if&#xa0;</mtext>{self.relation().markup}"))
            self.expect("name", "else")
            value = self.sum()
        if not cases:
            return value
        cases.append((value.markup, "<mtext>else</mtext>"))
        rows = "".join(
            f"<mtr><mtd>{_row(value)}</mtd><mtd>{_row(when)}</mtd></mtr>" for value, when in cases
        )
        table = f'<mtable columnalign="left" class="cases">{rows}</mtable>'
        return Node(f'<mrow><mo fence="true" stretchy="true">{{</mo>{table}</mrow>')

    def sum(self) -> Node:
        first = self.product()
        markup, is_sum = first.markup, False
        while sign := self.takes("+", "-"):
            is_sum = True
            markup += f"<mo>{MINUS if sign == '-' else '+'}</mo>{self.product().markup}"
        return Node(markup) if is_sum else first

    def product(self) -> Node:
        left = self.factor()
        while True:
            if self.takes("/"):
                left = Node(f"<mfrac>{left.alone}{self.factor().alone}</mfrac>")
            elif self.takes("*"):
                left = Node(f"{left.markup}<mo>⋅</mo>{self.factor().markup}")
            elif self.takes("@"):
                left = Node(f"{left.markup}{_SPACE}{self.factor().markup}")
            elif self.begins_factor():
                left = Node(_product(left.markup, self.factor().markup))
            else:
                return left

    def begins_factor(self) -> bool:
        kind, text, _ = self.next
        if kind == "sign":
            return text == "(" or (text == "|" and not self.bars)
        return kind == "number" or (kind == "name" and text not in ("if", "else"))

    def factor(self) -> Node:
        if self.takes("-"):
            return Node(f'<mo form="prefix">{MINUS}</mo>{self.factor().markup}')
        base = self.primary()
        if self.takes("^", "**"):
            return Node(f"<msup>{_row(base.markup)}{self.factor().alone}</msup>")
        return base

    def primary(self) -> Node:
        token = self.take()
        if token.kind == "number":
            return Node(f"<mn>{token.text}</mn>")
        if token.kind == "name":
            return self.named(token.text)
        if token.text == "(":
            inside = self.relation().markup
            self.expect("sign", ")")
            return Node(_fenced("(", inside, ")"), inside)
        if token.text == "|":
            self.bars += 1
            inside = self.relation().markup
            self.bars -= 1
            self.expect("sign", "|")
            return Node(_fenced("|", inside, "|"))
        raise FormulaError(f"{token.text or 'the end'!r} where a number or a name is expected")

    def named(self, name: str) -> Node:
        if self.next.text == "(" and self.next.is_close:
            return self.call(name)
        node = Node(_identifier(name))
        if self.next.text == "[" and self.next.is_close:
            self.take()
            index = self.relation().markup
            self.expect("sign", "]")
            return Node(f"<msub>{_row(node.markup)}{_row(index)}</msub>")
        return node

    def call(self, name: str) -> Node:
        self.take()
        bars, self.bars = self.bars, 0
        arguments = [self.relation().markup]
        while self.takes(","):
            arguments.append(self.relation().markup)
        self.bars = bars
        self.expect("sign", ")")
        inside = "<mo>,</mo>".join(arguments)
        if name == "sqrt":
            return Node(f"<msqrt>{_row(inside)}</msqrt>")
        if name == "abs":
            return Node(_fenced("|", inside, "|"))
        if name == "sum":
            return Node(f'<mo largeop="true">∑</mo>{_fenced("(", inside, ")")}')
        function = f"{_FUNCTION}{_shown(name)}</mi>"
        return Node(f"{function}<mo>&#x2061;</mo>{_fenced('(', inside, ')')}")


def _product(left: str, right: str) -> str:
    """Two factors side by side, with a space where a word would run into the other factor."""
    word_before = re.search(r"</mtext>(</\w+>)*$|</msub>$", left)
    word_after = re.match(rf"(<\w+>)*({_WORD}|{_FUNCTION})", right)
    gap = _SPACE if word_before or word_after else ""
    return f"{left}{_JUXTAPOSED}{gap}{right}"


def _row(markup: str) -> str:
    return f"<mrow>{markup}</mrow>"


def _fenced(left: str, inside: str, right: str) -> str:
    return f'<mrow><mo fence="true">{left}</mo>{inside}<mo fence="true">{right}</mo></mrow>'


def _shown(name: str) -> str:
    return GREEK.get(name, name.replace("_", " ") if len(name) > 1 else name)


def _identifier(name: str) -> str:
    """A letter with what is below it, a differential, or the name of an argument as it is."""
    if match := re.fullmatch(r"d([A-Z])", name):
        return f"<mrow><mi>d</mi><mi>{match[1]}</mi></mrow>"
    if match := re.fullmatch(r"([hpwy])_(\w+)|([a-z])(\d+)", name):
        letter, word, other, number = match.groups()
        below = f"<mtext>{word}</mtext>" if word else f"<mn>{number}</mn>"
        return f"<msub><mi>{letter or other}</mi>{below}</msub>"
    if name in GREEK or len(name) == 1:
        return f"<mi>{GREEK.get(name, name)}</mi>"
    return f"<mtext>{name}</mtext>"
