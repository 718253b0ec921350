import socket

from opencodehub.processes import listening_socket


def test_small_answers_do_not_wait_for_acknowledgements() -> None:
    with listening_socket("127.0.0.1", 0, flag="--port") as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            connection, _ = listener.accept()
            with connection:
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
