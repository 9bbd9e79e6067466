import java.util.HashMap;
import java.util.Map;

/** Command line: `--name value`, or `--name` alone for a switch. */
final class Options {
    private final Map<String, String> values = new HashMap<>();

    Options(String[] args, int from) {
        for (int i = from; i < args.length; i++) {
            if (!args[i].startsWith("--"))
                throw new IllegalArgumentException("not an option: " + args[i]);
            String name = args[i].substring(2);
            boolean isSwitch = i + 1 == args.length || args[i + 1].startsWith("--");
            values.put(name, isSwitch ? "true" : args[++i]);
        }
    }

    String text(String name) {
        String value = values.get(name);
        if (value == null)
            throw new IllegalArgumentException("--" + name + " is needed");
        return value;
    }

    String text(String name, String otherwise) {
        return values.getOrDefault(name, otherwise);
    }

    int number(String name, int otherwise) {
        return values.containsKey(name) ? Integer.parseInt(values.get(name)) : otherwise;
    }

    boolean has(String name) {
        return values.containsKey(name);
    }
}
