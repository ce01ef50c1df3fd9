"""A folder in a store of objects, and what is to be seen on the disk."""

from pathlib import Path

URL = "s3://models/adapters/tuned"


def put(s3, folder: Path, prefix: str = "adapters/tuned") -> None:
    for path in folder.iterdir():
        s3.put_object(Bucket="models", Key=f"{prefix}/{path.name}", Body=path.read_bytes())


def visible(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []
