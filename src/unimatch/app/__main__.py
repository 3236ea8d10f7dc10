"""Serves a page on this machine that predicts images dropped on it, as ``python -m unimatch.app``."""

from omegaconf import DictConfig

from unimatch.app.server import AppServer
from unimatch.command import command
from unimatch.errors import ConfigError
from unimatch.inference.predictor import Predictor


def serve(config: DictConfig) -> None:
    """Serves the page until Ctrl-C."""
    predictor = Predictor(config.checkpoint, model=config.model, device=config.device, precision=config.precision)
    try:
        server = AppServer(predictor, config.port, seconds=config.seconds)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"port={config.port}: cannot be used ({error}); port=0 takes any free one") from error
    print(f"{config.checkpoint}: open {server.url} in a browser on this machine; Ctrl-C ends", flush=True)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


main = command("app")(serve)

if __name__ == "__main__":
    main()
