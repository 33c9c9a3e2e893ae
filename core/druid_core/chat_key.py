"""
What the Overlord shows a peon to read its log and live reports.

Made from the token of the attempt, which both know, so that nothing else has to travel. It is not the token itself: the
address of a peon may be another's by the time it is called, and whoever gets the key there can read one task and do
nothing.
"""

import base64
import hashlib
import hmac


def chat_key(token: str) -> str:
    """The key for a token, 43 characters that are safe in a header."""
    mac = hmac.digest(token.encode(), b"chat", hashlib.sha256)
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
