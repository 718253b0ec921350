"""Passwords that stand at the head of every published list; stems, in lower case.

``services.password_rules`` also compares what is left of a password without the digits and marks
at its end, so ``password123!`` needs no line of its own.
"""

_STEMS = """
000000000 0123456789 11111111 111111111 11223344 112233445566 123123123 12341234 1234512345
12345678 123456789 1234567890 12345678910 123456789a 1234qwer 123qwe123 123qweasd 147258369
147852369 1q2w3e4r 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx 1qaz2wsx3edc 1qazxsw2 22222222 55555555
66666666 77777777 87654321 88888888 987654321 9876543210 99999999 abc12345 abcd1234 abcdefgh
abcdefghi access14 admin admin123 admin1234 administrator alexander america asdasdasd asdf1234
asdfasdf asdfghjk asdfghjkl babygirl baseball basketball batman123 butterfly changeit changeme
charlie1 chocolate computer corvette cowboys1 creative danielle default dolphins dragon dragon12
einstein elephant facebook firebird football football1 gateway1 gfhjkmgfhjkm github gitlab google
guest hello123 hellohello helloworld hunter22 iloveyou iloveyou1 iloveyou2 internet jennifer
jessica1 jonathan jordan23 killer12 kingkong letmein letmein1 liverpool login lovelove loveme12
manager marlboro maverick mercedes metallica michael1 michelle midnight monkey monkey12 mountain
mustang1 nicholas ninja123 opencodehub p4ssw0rd p@ssw0rd p@ssword pa$$word pass1234 passpass
passw0rd password password1 password12 password123 pokemon1 princess princess1 q1w2e3r4 q1w2e3r4t5
qazwsx123 qazwsxedc qwe123qwe qweasdzxc qwer1234 qwert123 qwerty qwerty12 qwerty123 qwertyui
qwertyuiop qwertyuiop123 rainbow1 rockyou1 root rootroot samantha samsung1 scorpion secret
secret12 security shadow12 slipknot softball startrek starwars steelers summer sunshine sunshine1
superman superman1 superstar test1234 testing1 testtest tinkerbell trustno1 user victoria welcome
welcome1 welcome123 whatever winter wordpass x-access-token yankees1 zaq12wsx zaq1zaq1 zaqxswcde
zxcvbnm zxcvbnm1 zxcvbnm123 zxcvbnmn
"""

COMMON_PASSWORDS = frozenset(_STEMS.split())
