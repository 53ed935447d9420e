# SPDX-License-Identifier: GPL-2.0-or-later
"""The one family of trouble this package raises: something a person wrote is wrong."""


class ScenarioError(Exception):
    """A scenario, a parameter or a scenario's name is wrong: a user error.

    `place` says where (a file and key, or `scenario smoke`), `message` what is wrong, `hint` what
    to do next (may be empty). `str()` is the one line a person sees.
    """

    def __init__(self, place: str, message: str, hint: str = "") -> None:
        super().__init__(place, message, hint)
        self.place = place
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}"
        return f"{text}; {self.hint}" if self.hint else text
