"""Passwords in addresses, hidden wherever a text leaves the program: errors, warnings, tags, reports, output."""

from __future__ import annotations

import re

HIDDEN = "***"

# Up to the last @ of a word, so that a password with an @ of its own is hidden whole. Where an address stands in the
# place of a file, `Path` has made one slash of its two.
_IN_AUTHORITY = re.compile(r"""(:/+[^\s:/@"']*):[^\s"']*@""")
_IN_QUERY = re.compile(r"""([?&](?:password|passwd|pwd|token|secret)=)[^&\s"']*""", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """Return a text in which no address has a password, `user:***@host`, nor a token in its query.

    >>> without_passwords("The store at http://me:pw@host/a?token=b fails.")
    'The store at http://me:***@host/a?token=*** fails.'
    """
    return _IN_QUERY.sub(rf"\1{HIDDEN}", _IN_AUTHORITY.sub(rf"\1:{HIDDEN}@", text))
