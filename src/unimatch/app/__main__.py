"""``python -m unimatch.app``: serves a page on this machine that predicts the images that are dropped on it."""

from omegaconf import DictConfig

from unimatch.app.opened import open_model
from unimatch.app.server import AppServer
from unimatch.cli.command import command
from unimatch.errors import ConfigError


def serve(config: DictConfig) -> None:
    """Serves the page until Ctrl-C."""
    opened = open_model(config.checkpoint, config.model, config.device, config.precision)
    try:
        server = AppServer(opened, config.port, seconds=config.seconds)
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
