# Paths that the scripts share; source it: . "$(dirname "$0")/lib.sh"
# Promises: after sourcing, the tools that scripts/setup put into its private folder come first in PATH.
# Changes nothing on disk. It works from any directory and under bash and dash.

# Everything that setup fetches for itself, outside the clone; nothing of the system is replaced by it.
ONIONSKIN_TOOLS="${ONIONSKIN_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/onionskin/tools}"
export ONIONSKIN_TOOLS
case ":$PATH:" in
*":$ONIONSKIN_TOOLS/bin:"*) ;;
*) PATH="$ONIONSKIN_TOOLS/bin:$PATH" ;;
esac
export PATH
