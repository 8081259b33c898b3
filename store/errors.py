"""Every error text that a client can see, in one place.

Texts are what redis-server 7.0 answers, without the leading ``-`` and the line
end; the tests compare them with a real one.  A command raises
``CommandError(TEXT)`` before it has logged or changed anything; the engine makes
the reply.  Texts with ``%b`` are filled in by the function beside them.
"""

from __future__ import annotations


class CommandError(Exception):
    """A command's refusal; ``text`` begins with the error's code (``ERR``, ``WRONGTYPE`` ...)."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


# ---- any command -------------------------------------------------------------

WRONG_TYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"
SYNTAX = b"ERR syntax error"
NOT_AN_INTEGER = b"ERR value is not an integer or out of range"
NOT_A_FLOAT = b"ERR value is not a valid float"
NO_SUCH_KEY = b"ERR no such key"
OUT_OF_RANGE = b"ERR value is out of range"
MUST_BE_POSITIVE = b"ERR value is out of range, must be positive"
INDEX_OUT_OF_RANGE = b"ERR index out of range"
DB_INDEX_OUT_OF_RANGE = b"ERR DB index is out of range"
NUMKEYS_NOT_POSITIVE = b"ERR numkeys should be greater than 0"
SAME_OBJECT = b"ERR source and destination objects are the same"


def wrong_arity(name: bytes) -> bytes:
    """``name`` is the full name in lower case, ``config|get`` for subcommands."""
    return b"ERR wrong number of arguments for '%b' command" % name


def _shown(word: bytes, most: int) -> bytes:
    """A client's word inside an error: up to ``most`` bytes and up to a NUL byte, as C prints it."""
    return word.partition(b"\0")[0][:most]


def unknown_command(argv: list[bytes]) -> bytes:
    """As stock prints it: the name and the first arguments, each cut to 128 bytes in all, line ends blanked."""
    shown = b""
    for arg in argv[1:]:
        if len(shown) >= 128:
            break
        shown += b"'%b' " % _shown(arg, 128 - len(shown))
    text = b"ERR unknown command '%b', with args beginning with: %b" % (_shown(argv[0], 128), shown)
    return text.replace(b"\r", b" ").replace(b"\n", b" ")


def unknown_subcommand(subcommand: bytes, name: bytes) -> bytes:
    """``name`` is the container command in upper case."""
    text = b"ERR unknown subcommand '%b'. Try %b HELP." % (_shown(subcommand, 128), name)
    return text.replace(b"\r", b" ").replace(b"\n", b" ")


def invalid_expire(name: bytes) -> bytes:
    """``name`` is the command in lower case."""
    return b"ERR invalid expire time in '%b' command" % name


# ---- keys ----------------------------------------------------------------------

INVALID_CURSOR = b"ERR invalid cursor"
BEYOND_LONG = b"ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
BEYOND_INT = b"ERR value is out of range, value must between -2147483648 and 2147483647"
INVALID_FIRST_DB_INDEX = b"ERR invalid first DB index"
INVALID_SECOND_DB_INDEX = b"ERR invalid second DB index"
NX_WITH_OTHERS = b"ERR NX and XX, GT or LT options at the same time are not compatible"
GT_WITH_LT = b"ERR GT and LT options at the same time are not compatible"
NO_LFU_POLICY = (
    b"ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching "
    b"between policies at runtime LRU and LFU data will take some time to adjust."
)
LFU_POLICY = (
    b"ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between "
    b"policies at runtime LRU and LFU data will take some time to adjust."
)
OUT_OF_MEMORY = b"OOM command not allowed when used memory > 'maxmemory'."


def unsupported_option(option: bytes) -> bytes:
    """An option of EXPIRE and its kind that there is not; shown up to a NUL byte, as C does."""
    return b"ERR Unsupported option " + option.partition(b"\0")[0]


# ---- blocking ------------------------------------------------------------------

TIMEOUT_NOT_A_FLOAT = b"ERR timeout is not a float or out of range"
TIMEOUT_NOT_AN_INTEGER = b"ERR timeout is not an integer or out of range"
TIMEOUT_NEGATIVE = b"ERR timeout is negative"
NUMLOCAL_OUT_OF_RANGE = b"ERR value is out of range, value must between 0 and 1"
WAITAOF_WITHOUT_LOG = b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
UNBLOCKED = b"UNBLOCKED client unblocked via CLIENT UNBLOCK"
UNBLOCK_REASON = b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"


# ---- lists ---------------------------------------------------------------------

LPOS_RANK_ZERO = (
    b"ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from "
    b"the end of the list"
)
LPOS_COUNT_NEGATIVE = b"ERR COUNT can't be negative"
LPOS_MAXLEN_NEGATIVE = b"ERR MAXLEN can't be negative"
MPOP_COUNT_NOT_POSITIVE = b"ERR count should be greater than 0"


# ---- hashes --------------------------------------------------------------------

HASH_VALUE_NOT_AN_INTEGER = b"ERR hash value is not an integer"
HASH_VALUE_NOT_A_FLOAT = b"ERR hash value is not a float"
NOT_FINITE = b"ERR value is NaN or Infinity"
FIELDS_MISSING = b"ERR Mandatory argument FIELDS is missing or not at the right position"
FIELDS_NOT_POSITIVE = b"ERR Parameter `numFields` should be greater than 0"
FIELD_COUNT_NOT_POSITIVE = b"ERR Number of fields must be a positive integer"
FIELD_COUNT_WRONG = b"ERR The `numfields` parameter must match the number of arguments"
NEGATIVE_EXPIRE = b"ERR invalid expire time, must be >= 0"


# ---- sets, SORT --------------------------------------------------------------------

NUMKEYS_TOO_MANY = b"ERR Number of keys can't be greater than number of args"
LIMIT_NEGATIVE = b"ERR LIMIT can't be negative"
SCORES_NOT_DOUBLES = b"ERR One or more scores can't be converted into double"


# ---- sorted sets ---------------------------------------------------------------

ZADD_NX_AND_XX = b"ERR XX and NX options at the same time are not compatible"
ZADD_GT_LT_NX = b"ERR GT, LT, and/or NX options at the same time are not compatible"
ZADD_INCR_PAIRS = b"ERR INCR option supports a single increment-element pair"
SCORE_NAN = b"ERR resulting score is not a number (NaN)"
SCORE_RANGE = b"ERR min or max is not a float"
LEX_RANGE = b"ERR min or max not valid string range item"
LIMIT_WITHOUT_RANGE = b"ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
WITHSCORES_BY_LEX = b"ERR syntax error, WITHSCORES not supported in combination with BYLEX"
WEIGHT_NOT_A_FLOAT = b"ERR weight value is not a float"


def no_input_key(name: bytes) -> bytes:
    """``name`` is the command in lower case."""
    return b"ERR at least 1 input key is needed for '%b' command" % name


# ---- geo -----------------------------------------------------------------------

UNKNOWN_UNIT = b"ERR unsupported unit provided. please use M, KM, FT, MI"
RADIUS_NOT_NUMERIC = b"ERR need numeric radius"
RADIUS_NEGATIVE = b"ERR radius cannot be negative"
WIDTH_NOT_NUMERIC = b"ERR need numeric width"
HEIGHT_NOT_NUMERIC = b"ERR need numeric height"
BOX_NEGATIVE = b"ERR height or width cannot be negative"
MEMBER_NOT_DECODED = b"ERR could not decode requested zset member"
GEO_COUNT_NOT_POSITIVE = b"ERR COUNT must be > 0"
ANY_WITHOUT_COUNT = b"ERR the ANY argument requires COUNT argument"
GEOSEARCHSTORE_WITH = b"ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
GEORADIUS_STORE_WITH = b"ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options"


def invalid_place(longitude: float, latitude: float) -> bytes:
    """Not on the map that geohashes cover."""
    return b"ERR invalid longitude,latitude pair %f,%f" % (longitude, latitude)


def geo_centre_needed(name: bytes) -> bytes:
    """``name`` is the command as the client wrote it."""
    return b"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %b" % name


def geo_shape_needed(name: bytes) -> bytes:
    """``name`` is the command as the client wrote it."""
    return b"ERR exactly one of BYRADIUS and BYBOX can be specified for %b" % name


# ---- strings -------------------------------------------------------------------

STRING_TOO_LONG = b"ERR string exceeds maximum allowed size (proto-max-bulk-len)"
OVERFLOW = b"ERR increment or decrement would overflow"
NAN_OR_INFINITY = b"ERR increment would produce NaN or Infinity"
OFFSET_OUT_OF_RANGE = b"ERR offset is out of range"
DECREMENT_OVERFLOW = b"ERR decrement would overflow"
LCS_NOT_STRINGS = b"ERR The specified keys must contain string values"
LCS_LEN_AND_IDX = b"ERR If you want both the length and indexes, please just use IDX."
LCS_TOO_LARGE = b"ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"


# ---- bits ----------------------------------------------------------------------

BIT_OFFSET_OUT_OF_RANGE = b"ERR bit offset is not an integer or out of range"
NOT_A_BIT = b"ERR bit is not an integer or out of range"
BITPOS_NOT_A_BIT = b"ERR The bit argument must be 1 or 0."
BITOP_NOT_TAKES_ONE = b"ERR BITOP NOT must be called with a single source key."
BAD_BITFIELD_TYPE = b"ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
BAD_OVERFLOW = b"ERR Invalid OVERFLOW type specified"
BITFIELD_RO_GETS_ONLY = b"ERR BITFIELD_RO only supports the GET subcommand"


# ---- HyperLogLogs --------------------------------------------------------------

NOT_A_HLL = b"WRONGTYPE Key is not a valid HyperLogLog string value."
CORRUPT_HLL = b"INVALIDOBJ Corrupted HLL object detected"
HLL_NOT_SPARSE = b"ERR HLL encoding is not sparse"
NO_SPECIFIED_KEY = b"ERR The specified key does not exist"


def unknown_pfdebug(subcommand: bytes) -> bytes:
    """PFDEBUG has no such subcommand; shown up to a NUL byte, as C does."""
    return b"ERR Unknown PFDEBUG subcommand '%b'" % subcommand.partition(b"\0")[0]


def hll_test_failed(what: bytes) -> bytes:
    """PFSELFTEST: what did not come out as it should."""
    return b"TESTFAILED %b" % what


# ---- the log -------------------------------------------------------------------


def log_refused(reason: bytes) -> bytes:
    """REFUSE-WHOLE: the log cannot take a write; ``reason`` is the system's word for it."""
    return b"MISCONF Errors writing to the AOF file: %b" % reason


# ---- connections and transactions -------------------------------------------------

NO_AUTH = b"NOAUTH Authentication required."
LOADING = b"LOADING Redis is loading the dataset in memory"
NOT_IN_MULTI = b"ERR Command not allowed inside a transaction"
NESTED_MULTI = b"ERR MULTI calls can not be nested"
WATCH_IN_MULTI = b"ERR WATCH inside MULTI is not allowed"
EXEC_WITHOUT_MULTI = b"ERR EXEC without MULTI"
DISCARD_WITHOUT_MULTI = b"ERR DISCARD without MULTI"
EXEC_ABORTED = b"EXECABORT Transaction discarded because of previous errors."
MAX_CLIENTS = b"ERR max number of clients reached"
BAD_PASSWORD = b"WRONGPASS invalid username-password pair or user is disabled."
NO_PASSWORD_SET = (
    b"ERR AUTH <password> called without any password configured for the default user. "
    b"Are you sure your configuration is correct?"
)
NO_PROTOCOL = b"NOPROTO unsupported protocol version"
NOT_A_PROTOCOL = b"ERR Protocol version is not an integer or out of range"
HELLO_UNAUTHENTICATED = (
    b"NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> "
    b"option can be used to authenticate the client and select the RESP protocol version at the same time"
)
BAD_CLIENT_NAME = b"ERR Client names cannot contain spaces, newlines or special characters."
BAD_CLIENT_ID = b"ERR Invalid client ID"
CLIENT_ID_NOT_POSITIVE = b"ERR client-id should be greater than 0"
NO_SUCH_CLIENT = b"ERR No such client"
INTERNAL = b"ERR internal error: the command failed in a way that perdure did not foresee; see its log"


def exec_aborted(reason: bytes) -> bytes:
    """EXEC itself was refused for ``reason``, an error's text."""
    return b"EXECABORT Transaction discarded because of: %b" % reason.removeprefix(b"ERR ")


def hello_option(word: bytes) -> bytes:
    """``word`` is no option of HELLO, or has too few arguments behind it."""
    return b"ERR Syntax error in HELLO option '%b'" % word


def unknown_client_type(word: bytes) -> bytes:
    """``word`` is no type of client."""
    return b"ERR Unknown client type '%b'" % word


def no_such_user(name: bytes) -> bytes:
    """There is no user ``name``."""
    return b"ERR No such user '%b'" % name


def bad_client_attribute(option: bytes) -> bytes:
    """CLIENT SETINFO: the value for ``option`` has bytes that no name may have."""
    return b"ERR %b cannot contain spaces, newlines or special characters." % option


def unrecognized_option(option: bytes) -> bytes:
    """CLIENT SETINFO knows no ``option``."""
    return b"ERR Unrecognized option '%b'" % option


def protocol_error(text: bytes) -> bytes:
    """What the client did wrong on the wire; the connection is closed behind it."""
    return b"ERR Protocol error: %b" % text


PROTECTED_MODE = (
    b"DENIED perdure is in protected mode: it has no password and takes connections from this machine only. "
    b"To connect from elsewhere, set one (CONFIG SET requirepass, or requirepass in the configuration file), "
    b"or say 'protected-mode no' if the network is trusted."
)

# ---- ACL -------------------------------------------------------------------------------

ACL_SYNTAX = b"Syntax error"
ACL_UNKNOWN = b"Unknown command or category name in ACL"
ACL_CHILD = b"Allowing first-arg of a subcommand is not supported"
ACL_NO_SUCH_PASSWORD = b"The password you are trying to remove from the user does not exist"
ACL_BAD_HASH = b"The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
ACL_ALL_KEYS = (
    b"Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. "
    b"Try 'resetkeys' to start with an empty list of patterns"
)
ACL_ALL_CHANNELS = (
    b"Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. "
    b"Try 'resetchannels' to start with an empty list of channels"
)
ACL_DUPLICATE = b"Duplicate user found. A user can only be defined once in config files"
ACL_UNMATCHED = b"Unmatched parenthesis in selector definition"
"""Reasons why a rule is refused; they stand behind the rule, or the file and line."""

ACL_BAD_USERNAME = b"ERR Usernames can't contain spaces or null characters"
ACL_DEFAULT_STAYS = b"ERR The 'default' user cannot be removed"
ACL_NO_FILE = (
    b"ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER "
    b"command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store "
    b"users in the Redis configuration."
)
ACL_NOT_SAVED = b"ERR There was an error trying to save the ACLs. Please check the server logs for more information"
ACL_GENPASS_BITS = (
    b"ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"
)
ACL_NO_CHANGE = b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
SORT_BY_DENIED = b"ERR BY option of SORT denied due to insufficient ACL permissions."
SORT_GET_DENIED = b"ERR GET option of SORT denied due to insufficient ACL permissions."
NO_PERMISSION_KEY = b"NOPERM this user has no permissions to access one of the keys used as arguments"
NO_PERMISSION_CHANNEL = b"NOPERM this user has no permissions to access one of the channels used as arguments"


def no_permission_command(name: bytes) -> bytes:
    """The user may not run the command; ``name`` is the full name in lower case."""
    return b"NOPERM this user has no permissions to run the '%b' command" % name


def no_permission_any_more(reason: bytes) -> bytes:
    """EXEC: the user may not do any more what it might when the command was queued."""
    return (
        b"NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
        b"This command is no longer allowed for the following reason: " + reason
    )


def script_not_permitted(reason: bytes) -> bytes:
    """A command in a script that its caller may not run."""
    return b"ERR The user executing the script " + reason


def unmatched_parenthesis(word: bytes) -> bytes:
    """ACL SETUSER: the selector that begins with ``word`` does not end."""
    return b"ERR Unmatched parenthesis in acl selector starting at '%b'." % word.partition(b"\0")[0]


def bad_acl_rule(rule: bytes, reason: bytes) -> bytes:
    """ACL SETUSER: a rule is refused."""
    return b"ERR Error in ACL SETUSER modifier '%b': %b" % (rule.partition(b"\0")[0], reason)


def unknown_category(name: bytes) -> bytes:
    """ACL CAT knows no such category."""
    return b"ERR Unknown category '%b'" % _shown(name, 128)


def user_not_found(name: bytes) -> bytes:
    """ACL DRYRUN knows no such user."""
    return b"ERR User '%b' not found" % name


def command_not_found(name: bytes) -> bytes:
    """ACL DRYRUN knows no such command."""
    return b"ERR Command '%b' not found" % name


def wrong_subcommand(subcommand: bytes, name: bytes) -> bytes:
    """A subcommand whose arguments are too many; ``name`` is the container command in upper case."""
    shown = _shown(subcommand, 128)
    return b"ERR unknown subcommand or wrong number of arguments for '%b'. Try %b HELP." % (shown, name)


# ---- listening and pausing -----------------------------------------------------------

MONITOR_AND_KEYS = b"ERR Replica can't interact with the keyspace"
MONITOR_IN_MULTI = b"ERR MONITOR isn't allowed for DENY BLOCKING client"
PAUSE_MODE = b"ERR CLIENT PAUSE mode must be WRITE or ALL"
ONE_REDIRECTION = b"ERR A client can only redirect to a single other client"
NO_CLIENT_TO_REDIRECT_TO = b"ERR The client ID you want redirect to does not exist"
PREFIX_WITHOUT_BCAST = b"ERR PREFIX option requires BCAST mode to be enabled"
BCAST_SWITCHED = (
    b"ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a "
    b"different mode."
)
OPT_WITH_BCAST = b"ERR OPTIN and OPTOUT are not compatible with BCAST"
OPTIN_AND_OPTOUT = b"ERR You can't specify both OPTIN mode and OPTOUT mode"
OPT_SWITCHED = (
    b"ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a "
    b"different mode."
)
CACHING_WITHOUT_TRACKING = (
    b"ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"
)
CACHING_YES_WITHOUT_OPTIN = b"ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."
CACHING_NO_WITHOUT_OPTOUT = b"ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."


def only_in_subscribed_mode(name: bytes) -> bytes:
    """``name``, in lower case, is not for a RESP2 client that has subscribed."""
    return (
        b"ERR Can't execute '%b': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this "
        b"context" % name
    )


def prefixes_overlap(prefix: bytes, other: bytes, is_new: bool) -> bytes:
    """CLIENT TRACKING: ``prefix`` and one that the client has already, or gave as well (``is_new``)."""
    which = b"another provided" if is_new else b"an existing"
    return b"ERR Prefix '%b' overlaps with %b prefix '%b'. Prefixes for a single client must not overlap." % (
        prefix.partition(b"\0")[0], which, other.partition(b"\0")[0],
    )  # fmt: skip


# ---- server commands -----------------------------------------------------------------

NO_SUCH_COMMAND = b"ERR Invalid command specified"
NO_KEY_ARGUMENTS = b"ERR The command has no key arguments"
GETKEYS_ARITY = b"ERR Invalid number of arguments specified for command"
GETKEYS_INVALID = b"ERR Invalid arguments specified for command"
NO_CONFIG_FILE = b"ERR The server is running without a config file"
NO_SHUTDOWN = b"ERR No shutdown in progress."
SHUTDOWN_FAILS = b"ERR Errors trying to SHUTDOWN. Check logs."
SLOWLOG_COUNT = b"ERR count should be greater than or equal to -1"
CLUSTER_DISABLED = b"ERR This instance has cluster support disabled"
NO_REPLICATION = b"ERR replication is not supported by this version of perdure"
INVALID_MASTER_PORT = b"ERR Invalid master port"
FAILOVER_TIMEOUT = b"ERR FAILOVER timeout must be greater than 0"
FAILOVER_WITHOUT_REPLICAS = b"ERR FAILOVER requires connected replicas."
NO_FAILOVER = b"ERR No failover in progress."
SSUBSCRIBE_IN_MULTI = b"ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"
MODULE_NOT_LOADED = b"ERR Error loading the extension. Please check the server logs."
NO_SUCH_MODULE = b"ERR Error unloading module: no such module with that name"
MODULE_NOT_ALLOWED = (
    b'ERR MODULE command not allowed. If the enable-module-command option is set to "local", you can run it from a '
    b"local connection, otherwise you need to set this option in the configuration file, and then restart the server."
)
DEBUG_RELOAD_OPTION = b"ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."
DEBUG_PROTOCOL = (
    b"ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|"
    b"attrib|push|verbatim|true|false"
)
DEBUG_NEEDS_RESP3 = b"ERR RESP2 is not supported by this command"
OUT_OF_RANGE_DATABASE = b"ERR Out of range database"
NOT_A_HASH_TABLE = b"ERR The value stored at the specified key is not represented using an hash table"
NOT_A_LISTPACK = b"ERR Not a listpack encoded object."
NOT_A_QUICKLIST = b"ERR Not a quicklist encoded object."
NOT_AN_SDS = b"ERR Not an sds encoded string."
PACKED_THRESHOLD = b"ERR argument must be a memory value bigger than 1 and smaller than 4gb"
DEBUG_NOT_ALLOWED = (
    b'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a local '
    b"connection, otherwise you need to set this option in the configuration file, and then restart the server."
)


def unknown_debug(subcommand: bytes) -> bytes:
    """DEBUG finds its subcommands itself and does not say whether the name or the number of arguments is wrong."""
    return b"ERR unknown subcommand or wrong number of arguments for '%b'. Try DEBUG HELP." % subcommand[:128]


def debug_refused(subcommand: bytes) -> bytes:
    """DEBUG: what would only harm the server, or the data, is not done."""
    return b"ERR DEBUG %b is refused: perdure does not end, or damage itself, on demand" % subcommand.upper()


def log_not_loaded(reason: bytes) -> bytes:
    """DEBUG LOADAOF: the log could not be read back, and nothing was changed."""
    return b"ERR DEBUG LOADAOF: %b" % reason


def no_latency_samples(event: bytes) -> bytes:
    """LATENCY GRAPH: nothing of the kind was sampled."""
    return b"ERR No samples available for event '%b'" % event.partition(b"\0")[0]


def unknown_replconf(option: bytes) -> bytes:
    """REPLCONF knows no ``option``."""
    return b"ERR Unrecognized REPLCONF option: %b" % option.partition(b"\0")[0]


def unknown_rdb_filter(word: bytes) -> bytes:
    """REPLCONF rdb-filter-only: what is no part of an RDB file."""
    return b"ERR Unsupported rdb-filter-only option: %b" % word.partition(b"\0")[0]


def config_not_rewritten(reason: bytes) -> bytes:
    """CONFIG REWRITE could not write the file; ``reason`` is the system's word for it."""
    return b"ERR Rewriting config file: %b" % reason


# ---- streams -------------------------------------------------------------------

INVALID_STREAM_ID = b"ERR Invalid stream ID specified as stream command argument"
INVALID_INTERVAL_START = b"ERR invalid start ID for the interval"
INVALID_INTERVAL_END = b"ERR invalid end ID for the interval"
XADD_ZERO_ID = b"ERR The ID specified in XADD must be greater than 0-0"
XADD_SMALL_ID = b"ERR The ID specified in XADD is equal or smaller than the target stream top item"
XADD_EXHAUSTED = b"ERR The stream has exhausted the last possible ID, unable to add more items"
XADD_TOO_LARGE = b"ERR Elements are too large to be stored"
TRIM_TWICE = b"ERR syntax error, MAXLEN and MINID options at the same time are not compatible"
TRIM_MAXLEN_NEGATIVE = b"ERR The MAXLEN argument must be >= 0."
TRIM_LIMIT_NEGATIVE = b"ERR The LIMIT argument must be >= 0."
LIMIT_WITHOUT_TRIM = b"ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"
LIMIT_WITHOUT_TILDE = b"ERR syntax error, LIMIT cannot be used without the special ~ option"
XTRIM_WITHOUT_TRIM = b"ERR syntax error, XTRIM must be called with a trimming strategy"
ENTRIES_ADDED_NEGATIVE = b"ERR entries_added must be positive"
XSETID_BELOW_DELETED = b"ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id"
XSETID_BELOW_TOP = b"ERR The ID specified in XSETID is smaller than the target stream top item"
XSETID_ADDED_BELOW_LENGTH = b"ERR The entries_added specified in XSETID is smaller than the target stream length"
UNBALANCED_STREAMS = b"ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."
GROUP_IN_XREAD = b"ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."
NOACK_IN_XREAD = b"ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."
GROUP_MISSING = b"ERR Missing GROUP option for XREADGROUP"
DOLLAR_IN_XREADGROUP = (
    b"ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by "
    b"specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."
)
GREATER_IN_XREAD = (
    b"ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
)
STREAM_GONE = b"UNBLOCKED the stream key no longer exists"
GROUP_GONE = b"NOGROUP the consumer group this client was blocked on no longer exists"
XGROUP_NEEDS_KEY = (
    b"ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM "
    b"option to create an empty stream automatically."
)
BUSY_GROUP = b"BUSYGROUP Consumer Group name already exists"
BAD_ENTRIES_READ = b"ERR value for ENTRIESREAD must be positive or -1"
XCLAIM_MIN_IDLE = b"ERR Invalid min-idle-time argument for XCLAIM"
XAUTOCLAIM_MIN_IDLE = b"ERR Invalid min-idle-time argument for XAUTOCLAIM"
XCLAIM_IDLE = b"ERR Invalid IDLE option argument for XCLAIM"
XCLAIM_TIME = b"ERR Invalid TIME option argument for XCLAIM"
XCLAIM_RETRYCOUNT = b"ERR Invalid RETRYCOUNT option argument for XCLAIM"
XAUTOCLAIM_COUNT = b"ERR COUNT must be > 0"


def _until_nul(word: bytes) -> bytes:
    """A client's word as C prints it whole: up to a NUL byte."""
    return word.partition(b"\0")[0]


def no_group(key: bytes, group: bytes) -> bytes:
    """XPENDING, XCLAIM, XAUTOCLAIM: there is no such key, or it has no such group."""
    return b"NOGROUP No such key '%b' or consumer group '%b'" % (_until_nul(key), _until_nul(group))


def no_group_to_read(key: bytes, group: bytes) -> bytes:
    """XREADGROUP: the same."""
    return no_group(key, group) + b" in XREADGROUP with GROUP option"


def no_group_of_key(key: bytes, group: bytes) -> bytes:
    """XGROUP, XINFO: the key has no such group."""
    return b"NOGROUP No such consumer group '%b' for key name '%b'" % (_until_nul(group), _until_nul(key))


def block_in_script(name: bytes) -> bytes:
    """XREAD and XREADGROUP, as the script calls them, with BLOCK in a script."""
    return b"ERR %b command is not allowed with BLOCK option from scripts" % _until_nul(name)


def unknown_xclaim_option(word: bytes) -> bytes:
    """``word`` is no option of XCLAIM, or has no argument behind it."""
    return b"ERR Unrecognized XCLAIM option '%b'" % _until_nul(word)


def bad_subcommand(subcommand: bytes, name: bytes) -> bytes:
    """A subcommand that read its arguments itself and could not; ``name`` is the container in upper case."""
    shown = _shown(subcommand, 128)
    return b"ERR unknown subcommand or wrong number of arguments for '%b'. Try %b HELP." % (shown, name)
