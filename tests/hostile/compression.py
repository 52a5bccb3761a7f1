"""HPACK (RFC 7541): fields to bytes in every form that there is, good or bad, and answers' bytes to fields."""

STATIC = """:authority |:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200
:status 204|:status 206|:status 304|:status 400|:status 404|:status 500|accept-charset |accept-encoding gzip, deflate
accept-language |accept-ranges |accept |access-control-allow-origin |age |allow |authorization |cache-control
content-disposition |content-encoding |content-language |content-length |content-location |content-range
content-type |cookie |date |etag |expect |expires |from |host |if-match |if-modified-since |if-none-match |if-range
if-unmodified-since |last-modified |link |location |max-forwards |proxy-authenticate |proxy-authorization |range
referer |refresh |retry-after |server |set-cookie |strict-transport-security |transfer-encoding |user-agent |vary
via |www-authenticate """.replace("\n", "|").split("|")
# Appendix A; an entry counts from 1.
TABLE = [tuple(entry.encode().split(b" ", 1)) if " " in entry else (entry.encode(), b"") for entry in STATIC]

# Appendix B: how many bits each byte's code has, and the end's, as letters from `a` for 5 on. The code is
# canonical, so that the lengths alone tell it.
LENGTHS = (
    "isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhfibccccccccccccccccccccccdcdioijbkabababbbaccbb"
    "babcbaabccccckgjixprpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrsvvporsruvvvwwvtuoqvwwvwtqqvv"
    "xwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwvz"
)


def _codes():
    lengths = [ord(letter) - ord("a") + 5 for letter in LENGTHS]
    codes, code, before = {}, 0, 5
    for symbol in sorted(range(257), key=lambda symbol: (lengths[symbol], symbol)):
        code <<= lengths[symbol] - before
        before = lengths[symbol]
        codes[symbol] = (code, before)
        code += 1
    return codes


CODES = _codes()
SYMBOLS = {(length, code): symbol for symbol, (code, length) in CODES.items()}
END = 256


def integer(value, bits, first=0):
    """Section 5.1: an integer with a prefix of so many bits, beside which `first` is set."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes([*out, value])


def huffman(symbols, padding=None):
    """Section 5.2: symbols, 256 for the end; `padding` takes the place of the ones behind them."""
    bits = "".join(f"{CODES[symbol][0]:0{CODES[symbol][1]}b}" for symbol in symbols)
    bits += "1" * (-len(bits) % 8) if padding is None else padding
    return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")


def string(text, coded=False):
    body = huffman(text) if coded else text
    return integer(len(body), 7, 128 if coded else 0) + body


def literal(name, value, form=0, bits=4, coded=False):
    """Sections 6.2.2 (form 0, 4 bits), 6.2.3 (0x10, 4) and 6.2.1 (0x40, 6). A number names an entry."""
    head = integer(name, bits, form) if isinstance(name, int) else bytes([form]) + string(name, coded)
    return head + string(value, coded)


def kept(name, value):
    """A literal that is entered into the dynamic table."""
    return literal(name, value, 0x40, 6)


def indexed(number):
    return integer(number, 7, 0x80)


def sized(size):
    """Section 6.3: a dynamic table size update."""
    return integer(size, 5, 0x20)


def block(fields):
    """Names and values as they are, whatever they are."""
    return b"".join(literal(name, value) for name, value in fields)


class Decoder:
    """Reads what a server sends."""

    def __init__(self):
        self.table, self.most = [], 4096

    def read(self, data):
        fields, at = [], 0
        while at < len(data):
            first = data[at]
            if first & 0x80:
                number, at = self._integer(data, at, 7)
                fields.append(self._entry(number))
            elif first & 0xE0 == 0x20:
                self.most, at = self._integer(data, at, 5)
                self._evict()
            else:
                number, at = self._integer(data, at, 6 if first & 0x40 else 4)
                name, at = (self._entry(number)[0], at) if number else self._string(data, at)
                value, at = self._string(data, at)
                fields.append((name, value))
                if first & 0x40:
                    self.table.insert(0, (name, value))
                    self._evict()
        return fields

    def _entry(self, number):
        return TABLE[number - 1] if number <= len(TABLE) else self.table[number - 1 - len(TABLE)]

    def _evict(self):
        while sum(len(name) + len(value) + 32 for name, value in self.table) > self.most:
            self.table.pop()

    @staticmethod
    def _integer(data, at, bits):
        most = (1 << bits) - 1
        value, at, shift = data[at] & most, at + 1, 0
        if value < most:
            return value, at
        while True:
            value, shift, at = value + ((data[at] & 127) << shift), shift + 7, at + 1
            if data[at - 1] < 128:
                return value, at

    def _string(self, data, at):
        coded = data[at] & 0x80
        length, at = self._integer(data, at, 7)
        text = data[at:at + length]
        return (self._text(text) if coded else bytes(text)), at + length

    @staticmethod
    def _text(coded):
        out, code, length = bytearray(), 0, 0
        for bit in "".join(f"{byte:08b}" for byte in coded):
            code, length = code << 1 | (bit == "1"), length + 1
            symbol = SYMBOLS.get((length, code))
            if symbol is not None and symbol < END:
                out.append(symbol)
                code = length = 0
        return bytes(out)
