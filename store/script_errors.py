"""Error texts of scripts and functions; as ``store.errors``, of which this is a part.

Texts that begin with no code are parts of others, or what Lua itself says.
"""

from __future__ import annotations

from perdure.store.errors import log_refused

# ---- scripts -------------------------------------------------------------------------------------

NO_SCRIPT = b"NOSCRIPT No matching script. Please use EVAL."
TOO_MANY_KEYS = b"ERR Number of keys can't be greater than number of args"
NEGATIVE_KEYS = b"ERR Number of keys can't be negative"
INVALID_SHEBANG = b"ERR Invalid script shebang"
INVALID_SHEBANG_ENGINE = b"ERR Invalid engine in script shebang"
SCRIPT_FLUSH_OPTION = b"ERR SCRIPT FLUSH only support SYNC|ASYNC option"
SCRIPT_DEBUG_OPTION = b"ERR Use SCRIPT DEBUG YES/SYNC/NO"
NOT_BUSY = b"NOTBUSY No scripts in execution right now."
UNKILLABLE = (
    b"UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script "
    b"termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
)
BUSY_SCRIPT = b"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
BUSY_FUNCTION = b"BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
WRITING_SCRIPT_IN_RO = b"ERR Can not execute a script with write flag using *_ro command."
OUT_OF_MEMORY = b"OOM command not allowed when used memory > 'maxmemory'."
SCRIPT_OUT_OF_MEMORY = (
    b"OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"
)
LUA_NO_MEMORY = b"not enough memory"
LUA_MEMORY = b"ERR not enough memory: the script needs more than Lua is given"

SCRIPT_UNKNOWN_COMMAND = b"ERR Unknown Redis command called from script"
SCRIPT_ARITY = b"ERR Wrong number of args calling Redis command from script"
NOT_IN_SCRIPT = b"ERR This Redis command is not allowed from script"
SCRIPT_IS_READ_ONLY = b"ERR Write commands are not allowed from read-only scripts."
NO_SCRIPT_ARGUMENTS = b"ERR Please specify at least one argument for this redis lib call"
SCRIPT_ARGUMENT_TYPE = b"ERR Lua redis lib command arguments must be strings or integers"
NO_SCRIPT_RUNS = b"ERR redis.call/pcall can only be called inside a script invocation"
WRONG_NUMBER_OF_ARGUMENTS = b"ERR wrong number of arguments"
LOG_ARGUMENTS = b"ERR redis.log() requires two arguments or more."
LOG_LEVEL_NOT_A_NUMBER = b"ERR First argument must be a number (log level)."
LOG_LEVEL_UNKNOWN = b"ERR Invalid debug level."
SETRESP_ARGUMENTS = b"ERR redis.setresp() requires one argument."
SETRESP_VERSION = b"ERR RESP version must be 2 or 3."
SET_REPL_ARGUMENTS = b"ERR redis.set_repl() requires two arguments."
SET_REPL_FLAGS = b"ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE."
ACL_CHECK_UNKNOWN_COMMAND = b"ERR Invalid command passed to redis.acl_check_cmd()"


def script_not_compiled(reason: bytes) -> bytes:
    """``reason`` is the compiler's message."""
    return b"ERR Error compiling script (new function): %b" % reason


def unexpected_engine(word: bytes) -> bytes:
    """The first word of a script's first line is not ``#!lua``."""
    return b"ERR Unexpected engine in script shebang: %b" % word


def unexpected_flag(word: bytes) -> bytes:
    """A script's first line has a flag that there is not."""
    return b"ERR Unexpected flag in script shebang: %b" % word


def unknown_shebang_option(word: bytes) -> bytes:
    """A script's first line has something that is no ``flags=``."""
    return b"ERR Unknown lua shebang option: %b" % word


def script_failed(name: bytes, reason: bytes) -> bytes:
    """A script ended with an error that is not even a table."""
    return b"ERR Error running script %b, %b" % (name, reason[:100])


def at_script_line(text: bytes, name: bytes, source: bytes, line: bytes) -> bytes:
    """An error's text with the place in the script behind it."""
    return b"%b script: %b, on %b:%b." % (text, name, source, line)


def writing_script_refused(refusal: bytes) -> bytes:
    """REFUSE-WHOLE for a script that may write; ``refusal`` is the log's."""
    return (
        b"MISCONF Redis is configured to persist data to AOF, but it's currently unable to persist to disk. Writable "
        b"scripts are blocked. Use 'no-writes' flag for read only scripts. AOF error: %b"
        % refusal.removeprefix(log_refused(b""))
    )


# ---- functions -------------------------------------------------------------------------------------

NO_LIBRARY_METADATA = b"ERR Missing library metadata"
INVALID_LIBRARY_METADATA = b"ERR Invalid library metadata"
LIBRARY_NAMED_TWICE = b"ERR Invalid metadata value, name argument was given multiple times"
LIBRARY_WITHOUT_NAME = b"ERR Library name was not given"
BAD_LIBRARY_NAME = (
    b"ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long"
)
NO_FUNCTIONS = b"ERR No functions registered"
FUNCTION_NOT_FOUND = b"ERR Function not found"
BAD_NUMBER_OF_KEYS = b"ERR Bad number of keys provided"
FUNCTION_CODE_MISSING = b"ERR Function code is missing"
LIBRARY_NOT_FOUND = b"ERR Library not found"
LIBRARY_PATTERN_MISSING = b"ERR library name argument was not given"
FUNCTION_FLUSH_OPTION = b"ERR FUNCTION FLUSH only supports SYNC|ASYNC option"
RESTORE_POLICY = b"ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."
BAD_PAYLOAD = b"ERR DUMP payload version or checksum are wrong"
NOT_A_FUNCTION = b"ERR given type is not a function"
OLD_FUNCTIONS = b"ERR Pre-GA function format not supported"
FUNCTIONS_NOT_LOADED = b"ERR Failed loading library payload"

REGISTERED_OUTSIDE_LOAD = b"ERR redis.register_function can only be called on FUNCTION LOAD command"
REGISTERED_TWICE = b"ERR Function already exists in the library"
REGISTER_ARGUMENTS = b"ERR wrong number of arguments to redis.register_function"
REGISTER_NOT_A_TABLE = (
    b"ERR calling redis.register_function with a single argument is only applicable to Lua table (representing named "
    b"arguments)."
)
REGISTER_NAME = b"ERR first argument to redis.register_function must be a string"
REGISTER_CALLBACK = b"ERR second argument to redis.register_function must be a function"
REGISTER_KEY = b"ERR named argument key given to redis.register_function is not a string"
REGISTER_UNKNOWN = b"ERR unknown argument given to redis.register_function"
REGISTER_FUNCTION_NAME = b"ERR function_name argument given to redis.register_function must be a string"
REGISTER_DESCRIPTION = b"ERR description argument given to redis.register_function must be a string"
REGISTER_NAMED_CALLBACK = b"ERR callback argument given to redis.register_function must be a function"
REGISTER_FLAGS = b"ERR flags argument to redis.register_function must be a table representing function flags"
REGISTER_UNKNOWN_FLAG = b"ERR unknown flag given"
REGISTER_WITHOUT_NAME = b"ERR redis.register_function must get a function name argument"
REGISTER_WITHOUT_CALLBACK = b"ERR redis.register_function must get a callback argument"


def invalid_library_option(word: bytes) -> bytes:
    """A library's first line has something that is no ``name=``."""
    return b"ERR Invalid metadata value given: %b" % word


def no_engine(name: bytes) -> bytes:
    """There is no language of that name."""
    return b"ERR Engine '%b' not found" % name


def library_exists(name: bytes) -> bytes:
    """FUNCTION LOAD without REPLACE of a library that is there."""
    return b"ERR Library '%b' already exists" % name


def library_there(name: bytes) -> bytes:
    """The same for FUNCTION RESTORE."""
    return b"ERR Library %b already exists" % name


def function_exists(name: bytes) -> bytes:
    """Another library has a function of that name."""
    return b"ERR Function %b already exists" % name


def library_not_compiled(reason: bytes) -> bytes:
    """``reason`` is the compiler's message."""
    return b"ERR Error compiling function: %b" % reason


def library_not_loaded(reason: bytes) -> bytes:
    """``reason`` is what the library's code ended with."""
    return b"ERR Error registering functions: %b" % reason


def unknown_function_option(word: bytes) -> bytes:
    """FUNCTION LOAD has no such option."""
    return b"ERR Unknown option given: %b" % word.partition(b"\0")[0]


def unknown_list_argument(word: bytes) -> bytes:
    """FUNCTION LIST has no such option."""
    return b"ERR Unknown argument %b" % word.partition(b"\0")[0]


def wrong_function_arguments(subcommand: bytes) -> bytes:
    """FUNCTION RESTORE and FLUSH count their arguments themselves."""
    return b"ERR unknown subcommand or wrong number of arguments for '%b'. Try FUNCTION HELP." % subcommand[:128]
