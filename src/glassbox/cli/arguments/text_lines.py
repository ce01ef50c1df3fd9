"""Files of lines that a command reads whole. Knows nothing of what the lines mean."""

from pathlib import Path

from glassbox.errors import InvalidData


def utf8_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file, without their ends.

    A line is what a line feed ends: real texts hold the other characters that Unicode calls line
    ends. A carriage return before it is dropped, and so is a byte-order mark.

    Raises:
        InvalidData: A byte is not UTF-8; says the line.
        OSError: The file cannot be read.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidData(
            f"byte 0x{content[error.start]:02x} is not UTF-8. Mend the line, or save the file as "
            "UTF-8",
            source=str(path),
            line=content.count(b"\n", 0, error.start) + 1,
        ) from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]
