import pytest

from models import User
from models.database import Database

pytestmark = pytest.mark.databases


async def test_a_written_row_is_read(database: Database) -> None:
    async with database.write() as session:
        user = User(login="ann", login_key="ann")
        session.add(user)
    async with database.read() as session:
        assert (await session.get_one(User, user.id)).login == "ann"
