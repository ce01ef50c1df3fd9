"""Techniques in files: every function of a folder that takes a model and a tokenizer first."""

from pathlib import Path

from glassbox import InterpClient

FOLDER = Path(__file__).parent / "techniques"

if __name__ == "__main__":
    with InterpClient("examples", "tiny") as client:
        techniques = client.load_techniques_from_dir(FOLDER)
        print("found:", ", ".join(techniques))

        answer = client.run(
            techniques["forced_answer"],
            user_prompt="Question: Where does Niene Foub live?\nAnswer:",
            prefill_text=" In",
            max_new_tokens=5,
        )
        print(repr(answer))

        # Loaded techniques can be named as well; map sends the function once for all texts.
        texts = ["The waiters were superb.", "The soup was cold.", "We waited for an hour."]
        for text, rank in zip(texts, client.map("rank_of_last", texts), strict=True):
            print(f"{rank:5d}  {text}")
