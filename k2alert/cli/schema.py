"""`k2alert schema`: JSON Schema of the configuration, for editors."""

import json

import click

from k2alert.config.schema import json_schema

__all__ = ["command"]


@click.command("schema")
@click.option("--rules", is_flag=True, help="The schema of a rule file, instead of the main file's.")
def command(rules: bool) -> None:
    """Print JSON Schema (draft 2020-12) of the configuration.

    Editors with a YAML language server check and complete with it: write it to a file and put
    `# yaml-language-server: $schema=FILE` at the top of k2alert.yml.
    """
    click.echo(json.dumps(json_schema("rules" if rules else "main"), indent=2, ensure_ascii=False))
