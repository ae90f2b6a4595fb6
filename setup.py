"""What pyproject.toml cannot say: the recipes lie at the top of the repository and are part of the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["moee_topics*"]), "moee_topics.recipes"],
    package_dir={"moee_topics.recipes": "recipes"},
)
