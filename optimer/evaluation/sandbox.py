"""placeholder"""


def available() -> None: ...
