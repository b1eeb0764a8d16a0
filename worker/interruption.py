"""How an operation hears that its worker ends."""


class Interrupted(Exception):
    """The worker is ending; whoever comes next begins anew."""
