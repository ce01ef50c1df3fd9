"""What is resident, and which versions your code meets there."""

from glassbox import InterpClient

if __name__ == "__main__":
    with InterpClient("examples", "tiny") as client:
        info = client.model_info()
        print(f"{info.model}: {info.architecture}, {info.n_parameters / 1e6:.1f}M parameters")
        print(f"{info.n_layers} layers of width {info.d_model}, {info.n_heads} heads each")
        print(f"{info.dtype} on {info.device}, context {info.context} tokens")
        print("a process of its own:", info.is_isolated)

        there = client.environment()
        print(f"Python {there.python}, torch {there.versions['torch']}")
        print("built in:", ", ".join(client.techniques()))
