"""From bags of words to records: what the schema's names, the usual keys and the order of words say they mean."""

from __future__ import annotations

from collections.abc import Iterator

from core.extract.answer import Found
from core.extract.salvage_names import Book, Names, fold, is_word, says_nothing, span
from core.extract.salvage_tree import Bag, Word
from core.extract.schema import Type

Value = Word | Bag
_Later = list[tuple[Bag, Type | None]]


def _keys(words: str) -> frozenset[str]:
    return frozenset(words.split("|"))


_TYPE = _keys("type|entity_type|entity type|label|category|class|类型|实体类型|类别")
_TEXT = _keys("text|name|entity|span|mention|word|value|实体|文本|名称")
_HEAD = _keys("head|subject|head_entity|head entity|subj|source|头|头实体|主体|主语|主实体")
_TAIL = _keys("tail|object|tail_entity|tail entity|obj|target|尾|尾实体|客体|宾语|尾部实体")
_RELATION = _keys("relation|predicate|relationship|relation_type|relation type|type|关系|关系类型|谓语")
_TRIGGER = _keys("trigger|event_trigger|event trigger|触发词|事件触发词")
_EVENT = _keys("event_type|event type|type|event|事件类型|类型|事件")
_ARGUMENTS = _keys("arguments|args|roles|argument|participants|论元|事件论元|论元列表")
_ROLE = _keys("role|argument_role|argument role|role_type|type|角色|论元角色")
_SAID = _keys("argument|text|entity|value|span|name|word|论元|实体|文本|事件论元")


class Walk:
    """Collects the records of one answer. `known`: something in it was an answer to what was asked."""

    def __init__(self, names: Names, book: Book) -> None:
        self.names, self.book = names, book
        self.found: list[Found] = []
        self.known = False
        self._current: Type | None = None
        """The type whose key came last: where brackets are lost, its records go on outside of them."""

    def read(self, root: Bag) -> None:
        if any(isinstance(value, Bag) and not value.items for _, value in root.items):
            self.known = True  # an empty list says "none"
        {"ner": self._entities, "re": self._relations, "ee": self._events}[self.names.task](root, None)

    def _typed(self, key: str | None) -> Type | None:
        made = self.names.type(key) if key else None
        if made is not None:
            self.known = True
            self._current = made
        return made

    def _said(self, name: str | None) -> Type | None:
        """A type named by a value: it holds for that record alone."""
        made = self.names.type(name) if name is not None else None
        self.known |= made is not None
        return made

    def _going_on(self) -> Type | None:
        return self._current if self.book.repairs["brackets"] else None

    def _unknown(self, key: str | None) -> None:
        """Records under a type that nobody asked for belong to no other."""
        if key is not None:
            self._current = None

    def _put(self, made: Type, text: str, parts: tuple[tuple[str, str], ...] = ()) -> None:
        self.known = True
        self.found.append(Found(made.name, text, parts))

    # Entities

    def _entities(self, bag: Bag, made: Type | None) -> None:
        words = [value for key, value in bag.items if key is None and isinstance(value, Word)]
        if len(words) == len(bag.items) == 2 and bag.kind and self._pair_with_type(words[0], words[1], made):
            return
        text: Word | None = None
        named: str | None = None

        def flush() -> None:
            nonlocal text, named
            if text is not None:
                kind = self._said(named) if named is not None else made
                self._entity(kind, text)
            text = named = None

        for key, value in bag.items:
            folded = fold(key) if key is not None else None
            typed = self._typed(key) if not (folded in _TEXT and self._has(bag, _TYPE)) else None
            if typed is not None:
                self._under(typed, value)
            elif key is None:
                if isinstance(value, Bag):
                    self._entities(value, made)
                else:
                    self._entity(made, value, loose=not bag.kind)
            elif folded in _TEXT and isinstance(value, Word):
                if text is not None:
                    flush()
                text = value
            elif folded in _TYPE and isinstance(value, Word):
                if named is not None:
                    flush()
                named = value.text
            elif isinstance(value, Bag):
                self._unknown(key)
                self._entities(value, None)
            else:
                kind = self._said(value.text)
                if kind is not None:  # {"Marie": "person"}
                    self._entity(kind, Word(key))
                elif bag.kind:
                    self.book.drop(f"{key}: {value.text}")
        flush()

    def _under(self, made: Type, value: Value) -> None:
        if isinstance(value, Bag):
            self._entities(value, made)
        else:
            self._entity(made, value)

    def _entity(self, made: Type | None, word: Word, *, loose: bool = False) -> None:
        loose = loose and not word.quoted  # prose around the answer
        if not is_word(word.text):
            return
        if made is None and not loose:
            made = self._going_on()
        if made is None or not word.whole:
            if not loose:
                self.book.drop(word.text)
            return
        self._put(made, span(word.text))

    def _pair_with_type(self, one: Word, other: Word, made: Type | None) -> bool:
        """`("Marie", "person")`, in either order."""
        last, first = self.names.type(other.text), self.names.type(one.text)
        if last is not None and (made is None or last is made) and other.whole:
            self._entity(self._said(other.text), one)
        elif first is not None and made is None:
            self._entity(self._said(one.text), other)
        else:
            return False
        return True

    def _has(self, bag: Bag, keys: frozenset[str]) -> bool:
        return any(key is not None and fold(key) in keys for key, _ in bag.items)

    # Relations

    def _relations(self, bag: Bag, made: Type | None, owner: str = "", *, owned: bool = False) -> None:
        """`owned`: inside an entity type that has attributes, where `owner` may be the entity that has them."""
        subject = owner if owned and not self.names.is_owner(owner) else ""
        if self._by_order(bag, made, subject):
            return
        in_keys = self._has(bag, _HEAD | _TAIL)
        head: list[Word] = []
        tail: list[Word] = []
        named: str | None = None
        last: Type | None = None

        def flush() -> None:
            nonlocal head, tail, named
            if head or tail:
                kind = self._said(named) or made
                self._pairs(kind, head, tail)
            head, tail, named = [], [], None

        for key, value in bag.items:
            folded = fold(key) if key is not None else ""
            if key is not None and folded in _HEAD and self.names.type(key) is None:
                if head:
                    flush()
                head = list(_words(value))
            elif key is not None and folded in _TAIL and self.names.type(key) is None:
                if tail:
                    flush()
                tail = list(_words(value))
            elif folded in _RELATION and isinstance(value, Word) and (in_keys or self.names.type(key or "") is None):
                if named is not None:
                    flush()
                named = value.text
            elif key is not None and (typed := self._typed(key)) is not None:
                self._under_relation(typed, value, subject)
                last = typed
            elif isinstance(value, Bag):
                owns = key is not None and self.names.is_owner(key)
                inner = owned or owns or self.names.only_attributes
                self.known |= owns
                if key is not None and not inner:
                    self._unknown(key)
                self._relations(value, made if key is None else None, owner if key is None else key, owned=inner)
            elif last is not None and subject and key is None:  # the bracket of a list is lost
                self._pairs(last, [Word(subject)], [value])
            elif (bag.kind or value.quoted) and is_word(value.text):
                self.book.drop(value.text)
        flush()

    def _under_relation(self, made: Type, value: Value, owner: str) -> None:
        if owner:
            for word in _words(value):
                self._pairs(made, [Word(owner)], [word])
            if isinstance(value, Bag):
                for key, inner in value.items:
                    if key is not None and isinstance(inner, Bag):  # a bracket was lost: the next entity stands in here
                        self._relations(inner, None, key, owned=True)
                    elif key is not None and (typed := self._typed(key)) is not None:
                        self._under_relation(typed, inner, owner)
        elif isinstance(value, Bag):
            self._relations(value, made)
        elif is_word(value.text):
            self.book.drop(value.text)

    def _by_order(self, bag: Bag, made: Type | None, owner: str) -> bool:
        """Words without keys: `[head, tail]` under a relation, `[head, relation, tail]` anywhere."""
        if owner and made is not None:
            return False
        words = [value for key, value in bag.items if key is None and isinstance(value, Word)]
        if not bag.kind or len(words) < 2 or len(words) != len(bag.items):
            return False
        if len(words) % 3 == 0 and (kinds := self._places(words)) is not None:
            for start, (kind, head, tail) in zip(range(0, len(words), 3), kinds, strict=True):
                self._pairs(kind, [words[start + head]], [words[start + tail]])
            return True
        if made is None or len(words) % 2:
            return False
        for start in range(0, len(words), 2):
            self._pairs(made, [words[start]], [words[start + 1]])
        return True

    def _places(self, words: list[Word]) -> list[tuple[Type, int, int]] | None:
        """For each three words the relation, and where head and tail stand; None unless all have one."""
        for at, head, tail in ((1, 0, 2), (0, 1, 2), (2, 0, 1)):
            kinds = [self.names.type(words[start + at].text) for start in range(0, len(words), 3)]
            if all(kind is not None for kind in kinds):
                return [(kind, head, tail) for kind in kinds if kind is not None]
        return None

    def _pairs(self, made: Type | None, heads: list[Word], tails: list[Word]) -> None:
        made = made or self._going_on()
        for head in heads or [Word("")]:
            for tail in tails or [Word("")]:
                if made is None or not (is_word(head.text) and is_word(tail.text) and head.whole and tail.whole):
                    if is_word(head.text) or is_word(tail.text):
                        self.book.drop(f"{head.text} | {tail.text}")
                    continue
                self._put(made, span(head.text), (("", span(tail.text)),))

    # Events

    def _events(self, bag: Bag, made: Type | None) -> None:
        trigger: Word | None = None
        named: str | None = None
        arguments: list[tuple[str, Word]] = []
        later: _Later = []
        last = ""

        def flush() -> None:
            nonlocal trigger, named, arguments
            kind = self._said(named) or made
            if trigger is not None:
                self._event(kind, trigger, arguments)
            elif arguments:
                self.book.drop(", ".join(word.text for _, word in arguments))
            trigger, named, arguments = None, None, []

        words = [value for key, value in bag.items if key is None and isinstance(value, Word)]
        if bag.kind and made is None and len(words) >= 2 and self._by_order_event(bag, words):
            return
        for key, value in bag.items:
            folded = fold(key) if key is not None else ""
            if key is None:
                if isinstance(value, Bag):
                    later.append((value, made or self._going_on()))
                elif made is not None and bag.kind and bag.kind != "{":
                    self._event(made, value, [])
                elif last and is_word(value.text):  # the bracket of a list is lost
                    arguments.append((last, value))
                elif (bag.kind or value.quoted) and is_word(value.text):
                    self.book.drop(value.text)
            elif folded in _TRIGGER:
                if trigger is not None:
                    flush()
                trigger = next(_words(value), None)
            elif folded in _ARGUMENTS and isinstance(value, Bag):
                arguments += self._arguments(value, made, later)
            elif folded in _EVENT and isinstance(value, Word) and (made is None or self.names.type(value.text)):
                if named is not None:
                    flush()
                named = value.text
            elif made is not None and self.names.role(made, key) is not None:
                arguments += [(key, word) for word in _words(value)]
                last = key
            elif (typed := self._typed(key)) is not None:
                if isinstance(value, Bag):
                    self._events(value, typed)
                elif self.book.repairs["brackets"] and self.names.is_role(key):
                    self.book.drop(f"{key}: {value.text}")  # a role called as a type is, whose event nobody can tell
                elif is_word(value.text):
                    self._event(typed, value, [])
            elif isinstance(value, Bag):
                self._unknown(key)
                later.append((value, made))
            elif is_word(value.text):
                arguments.append((key, value))  # a role, if the type that is yet to come has it
        flush()
        for inner, kind in later:
            if not self._stray_argument(inner):
                self._events(inner, kind)

    def _stray_argument(self, bag: Bag) -> bool:
        """An argument that a lost bracket has put outside its event, which is the last one."""
        if not self.book.repairs["brackets"] or not self.found or self._has(bag, _TRIGGER):
            return False
        if not (self._has(bag, _ROLE) and self._has(bag, _SAID)):
            return False
        event = self.found[-1]
        made = self.names.type(event.type)
        if made is not None:
            more = self._parts(made, self._arguments(bag, made, []))
            self.found[-1] = Found(event.type, event.text, (*event.parts, *more))
        return True

    def _arguments(self, bag: Bag, made: Type | None, later: _Later) -> list[tuple[str, Word]]:
        """(role, words) as written; bags that are events of their own go to `later`."""
        if self._has(bag, _TRIGGER) or any(key and made is None and self.names.type(key) for key, _ in bag.items):
            later.append((bag, made))
            return []
        words = [value for key, value in bag.items if key is None and isinstance(value, Word)]
        if len(words) == len(bag.items) == 2 and not any(
            "#" in word.text for word in words
        ):  # (argument, role), or the other way round
            one, other = words
            usual = made is None or self.names.role(made, other.text) or not self.names.role(made, one.text)
            return [(other.text, one)] if usual else [(one.text, other)]
        got: list[tuple[str, Word]] = []
        role: str | None = None
        said: Word | None = None
        last = ""
        for key, value in bag.items:
            folded = fold(key) if key is not None else ""
            known = made is not None and key is not None and self.names.role(made, key) is not None
            if key is not None and not known and folded in _ROLE and isinstance(value, Word):
                if role is not None:
                    said = None
                role = value.text
            elif key is not None and not known and folded in _SAID and isinstance(value, Word):
                said = value
            elif key is not None and (known or self.names.type(key) is None):
                if isinstance(value, Bag) and self._has(value, _TRIGGER):
                    later.append((value, made))
                else:
                    got += [(key, word) for word in _words(value)]
                    last = key if known else ""
            elif key is not None:
                later.append((Bag("{", [(key, value)]), None))
            elif isinstance(value, Bag):
                got += self._arguments(value, made, later)
            else:
                left, sign, right = value.text.partition("#")
                if sign:
                    swapped = made is not None and self.names.role(made, left) is not None
                    got.append((left, Word(right)) if swapped else (right, Word(left)))
                elif last and bag.kind == "{" and is_word(value.text):  # the bracket of a list is lost
                    got.append((last, value))
                elif is_word(value.text):
                    self.book.drop(value.text)
            if role is not None and said is not None:
                got.append((role, said))
                role = said = None
        return got

    def _by_order_event(self, bag: Bag, words: list[Word]) -> bool:
        """`[trigger, type, [(argument, role), …]]`, type and trigger in either order."""
        kind, trigger = self.names.type(words[1].text), words[0]
        if kind is None:
            kind, trigger = self.names.type(words[0].text), words[1]
        if kind is None:
            return False
        later: _Later = []
        rest = [(key, value) for key, value in bag.items if not any(value is word for word in words[:2])]
        arguments = self._arguments(Bag("[", [*rest, (None, Bag("["))]), kind, later)
        self._event(kind, trigger, arguments)
        for inner, _ in later:
            self._events(inner, None)
        return True

    def _event(self, made: Type | None, trigger: Word, arguments: list[tuple[str, Word]]) -> None:
        made = made or self._going_on()
        if made is None or not is_word(trigger.text) or not trigger.whole:
            if is_word(trigger.text):
                self.book.drop(trigger.text)
            return
        self._put(made, span(trigger.text), self._parts(made, arguments))

    def _parts(self, made: Type, arguments: list[tuple[str, Word]]) -> tuple[tuple[str, str], ...]:
        parts = []
        for name, word in arguments:
            role = self.names.role(made, name)
            if says_nothing(word.text) or not word.text.strip():
                continue
            if role is None or not is_word(word.text) or not word.whole:
                self.book.drop(f"{name}: {word.text}")
                continue
            parts.append((role, span(word.text)))
        return tuple(parts)


def _words(value: Value) -> Iterator[Word]:
    """The words that a value says: its own, those of a list, or the text of an object."""
    if isinstance(value, Word):
        if is_word(value.text):
            yield value
        return
    for key, inner in value.items:
        if isinstance(inner, Word) and (key is None or fold(key) in _TEXT or fold(key) == "@value"):
            if is_word(inner.text):
                yield inner
        elif isinstance(inner, Bag) and key is None:
            yield from _words(inner)
