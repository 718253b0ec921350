"""The settings of object storage; joined into one class by the application."""

from pydantic import BaseModel, Field, field_validator

from storage_adapters.factory import check_storage_url


class StorageSettings(BaseModel):
    """Flat names: ``storage_url`` is read from ``OCH_STORAGE_URL``, and so on."""

    storage_url: str | None = Field(
        default=None,
        description="Where objects are kept, such as file:///srv/objects; "
        "a folder in the data directory if unset.",
    )

    @field_validator("storage_url")
    @classmethod
    def _can_be_opened(cls, url: str | None) -> str | None:
        return None if url is None else check_storage_url(url)
