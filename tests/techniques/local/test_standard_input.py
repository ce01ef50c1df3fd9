"""A worker's standard input is its own; techniques and what they fork find an empty one."""


def test_a_technique_that_reads_its_input_is_told_that_there_is_none(client):
    def asking(model, tokenizer):
        try:
            return input("your name? ")
        except EOFError:
            return "nobody there"

    assert client.run(asking) == "nobody there"


def test_programs_that_a_technique_forks_answer(client):
    def forked(model, tokenizer):
        import multiprocessing

        # Each child closes the standard input first.
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map_async(abs, [-1, -2]).get(timeout=20)

    assert client.run(forked) == [1, 2]


def test_a_loader_with_workers_of_its_own_answers(client):
    def loaded(model, tokenizer):
        import torch
        from torch.utils.data import DataLoader

        loader = DataLoader(torch.arange(6), batch_size=4, num_workers=1, timeout=20)
        return [batch.tolist() for batch in loader]

    assert client.run(loaded) == [[0, 1, 2, 3], [4, 5]]
