"""`k2alert schema`: JSON Schema of the configuration, for editors."""

import json

import click

from k2alert.config.schema import json_schema
from k2alert.rehearse.rule_test_spec import test_schema

__all__ = ["command"]


@click.command("schema")
@click.option("--rules", is_flag=True, help="The schema of a rule file, instead of the main file's.")
@click.option("--tests", is_flag=True, help="The schema of a file of rule tests.")
def command(rules: bool, tests: bool) -> None:
    """Print JSON Schema (draft 2020-12) of the configuration.

    Editors with a YAML language server check and complete with it: write it to a file and put
    `# yaml-language-server: $schema=FILE` at the top of k2alert.yml.
    """
    found = test_schema() if tests else json_schema("rules" if rules else "main")
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
