"""The one error a person is meant to read, and the one that means "stop"."""

from __future__ import annotations


class UserError(Exception):
    """What went wrong, with which thing, and the remedy.

    `problem` and `remedy` are English templates with `{named}` fields, filled from `values`.
    The templates are the keys of `ui/i18n/zh.json`, so that the same error reads well in both
    languages; hence never an f-string here.
    """

    def __init__(self, problem: str, *, remedy: str, **values: object) -> None:
        super().__init__(problem, remedy, values)
        self.problem = problem
        self.remedy = remedy
        self.values = {name: str(value) for name, value in values.items()}

    def __str__(self) -> str:
        return f"{self.problem.format(**self.values)} {self.remedy.format(**self.values)}"

    def to_dict(self) -> dict[str, object]:
        return {"problem": self.problem, "remedy": self.remedy, "values": self.values}

    @classmethod
    def from_dict(cls, data: dict) -> UserError:
        return cls(data["problem"], remedy=data["remedy"], **data.get("values", {}))


class Cancelled(BaseException):
    """Raised in an operation's main thread when its person asked for it to stop.

    Not an `Exception`, so that no `except Exception` on the way swallows it.
    """
