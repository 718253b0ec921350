"""Rows with every required column filled in, added to the session and numbered."""

from sqlalchemy.ext.asyncio import AsyncSession

from models import Owner, Repository, User, Visibility


async def add_user(session: AsyncSession, login: str) -> User:
    user = User(login=login, login_key=login.lower())
    session.add(user)
    await session.flush()
    return user


async def add_repository(session: AsyncSession, owner: Owner, name: str) -> Repository:
    repository = Repository(
        owner_id=owner.id, name=name, name_key=name.lower(), visibility=Visibility.PUBLIC
    )
    session.add(repository)
    await session.flush()
    return repository
