"""Money is integer nano-dollars; this is how it is shown."""

NANO = 1_000_000_000  # nano-dollars in a USD


def usd(nano: int) -> str:
    """Nano-dollars as a decimal string of USD without an exponent: `usd(32_500_000) == "0.0325"`."""
    sign, nano = ("-", -nano) if nano < 0 else ("", nano)
    whole, part = divmod(nano, NANO)
    return f"{sign}{whole}.{part:09d}".rstrip("0").rstrip(".") if part else f"{sign}{whole}"
