"""Techniques about what a model answers."""

import torch


def forced_answer(model, tokenizer, user_prompt, prefill_text, max_new_tokens=50):
    """What the model writes once the beginning of its answer is given."""
    inputs = tokenizer(user_prompt + prefill_text, return_tensors="pt").to(model.device)
    written = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    return tokenizer.decode(written[0], skip_special_tokens=True)


def rank_of_last(model, tokenizer, text):
    """The rank of a text's last token among all that could have followed; 0 is the first."""
    inputs = tokenizer(text, return_tensors="pt").to(model.device)
    with torch.no_grad():
        logits = model(**inputs).logits[0, -2]
    return int((logits > logits[inputs["input_ids"][0, -1]]).sum())
