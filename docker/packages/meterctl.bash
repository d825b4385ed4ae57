# Completion of meterctl for bash; zsh takes it after "autoload bashcompinit && bashcompinit".
_meterctl() {
    local verbs='ls check cat resend drop rescue split check-config map retry-rejected install'
    local current=${COMP_WORDS[COMP_CWORD]} verb='' word words
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case " $verbs " in *" $word "*) verb=$word && break ;; esac
    done
    case $verb in
    '') words="-store-dir -h $verbs" ;;
    ls) words='-l -n' ;;
    resend | rescue) words='-all' ;;
    drop) words='-why' ;;
    split) words='-size' ;;
    check-config) words='-c -sample -input' ;;
    map) words='-c -output -input -raw -records -through-fluent-bit -tag -time -metadata -group' ;;
    retry-rejected) words='-c -output -from -since' ;;
    *) words='' ;;
    esac
    COMPREPLY=()
    while IFS='' read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$words" -- "$current"; compgen -f -- "$current")
}
complete -o filenames -F _meterctl meterctl
