"""A small file, and what was read of one: pairs of text and label."""

from glassbox.confidence.data.labelled import LabelledTexts


def pairs(data: LabelledTexts) -> list[tuple[str, str]]:
    return list(zip(data.texts, data.labels, strict=True))


CSV = 'text,label\na fine film,pos\na dull plot,neg\n"so, so good",pos\n'
