import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.JSONObject;
import com.alibaba.fastjson.parser.Feature;
import io.netty.buffer.ByteBuf;
import io.netty.channel.embedded.EmbeddedChannel;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.rocketmq.remoting.CommandCustomHeader;
import org.apache.rocketmq.remoting.netty.NettyEncoder;
import org.apache.rocketmq.remoting.protocol.LanguageCode;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.SerializeType;

/**
 * Writes golden files: frames exactly as RocketMQ's own NettyEncoder puts them on the wire, with
 * the values they were made from.
 *
 * <pre>Golden &lt;rocketmq version&gt; &lt;folder&gt;</pre>
 *
 * What the cases are stands in Cases. Header classes live in another package in 4.x than in 5.x and
 * differ in their fields, so they are made by name and filled through their setters.
 */
public final class Golden {
    static final HexFormat HEX = HexFormat.of();
    private static final int HEX_LINE_CHARS = 64;

    final String rocketmq;
    private final Path folder;
    private int written;

    private Golden(String rocketmq, Path folder) {
        this.rocketmq = rocketmq;
        this.folder = folder;
    }

    public static void main(String[] args) throws Exception {
        Golden golden = new Golden(args[0], Path.of(args[1]));
        new Cases(golden).all();
        System.out.println(golden.written);
    }

    boolean isVersion4() {
        return rocketmq.startsWith("4.");
    }

    private String protocol() {
        return isVersion4() ? "org.apache.rocketmq.common.protocol."
                            : "org.apache.rocketmq.remoting.protocol.";
    }

    // made by name

    Object make(String name, Object... fields) throws Exception {
        Object made = Class.forName(protocol() + name).getDeclaredConstructor().newInstance();
        for (int i = 0; i < fields.length; i += 2)
            set(made, (String) fields[i], fields[i + 1]);
        return made;
    }

    CommandCustomHeader header(String name, Object... fields) throws Exception {
        return (CommandCustomHeader) make("header." + name, fields);
    }

    Object call(String type, String method, Object argument) throws Exception {
        for (Method each : Class.forName(protocol() + type).getMethods())
            if (each.getName().equals(method) && each.getParameterCount() == 1)
                return each.invoke(null, argument);
        throw new IllegalArgumentException(type + "." + method);
    }

    static void set(Object object, String field, Object value) throws Exception {
        String setter = "set" + Character.toUpperCase(field.charAt(0)) + field.substring(1);
        for (Method each : object.getClass().getMethods())
            if (each.getName().equals(setter) && each.getParameterCount() == 1
                && !Modifier.isStatic(each.getModifiers())) {
                each.invoke(object, value);
                return;
            }
        for (Class<?> at = object.getClass(); at != null; at = at.getSuperclass())
            for (Field each : at.getDeclaredFields())
                if (each.getName().equals(field)) {
                    each.setAccessible(true);
                    each.set(object, value);
                    return;
                }
        throw new IllegalArgumentException(object.getClass() + " has no " + field);
    }

    // one case

    /** How a case's command comes to be; called once for each form, as encoding changes it. */
    interface Source {
        RemotingCommand get() throws Exception;
    }

    /** Writes name-version-json.hex and name-version-binary.hex. */
    void write(String name, String body, List<String> notes, Source source) throws Exception {
        for (SerializeType form : List.of(SerializeType.JSON, SerializeType.ROCKETMQ)) {
            RemotingCommand command = source.get();
            command.setSerializeTypeCurrentRPC(form);
            write(name, form, body, notes, command);
        }
    }

    private void write(String name, SerializeType form, String body, List<String> notes,
                       RemotingCommand command) throws Exception {
        String formName = form == SerializeType.JSON ? "json" : "binary";
        String caseName = name + "-" + rocketmq + "-" + formName;
        LanguageCode language = command.getLanguage();
        byte[] bytes = command.getBody() == null ? new byte[0] : command.getBody();
        byte[] frame = encode(command);

        StringBuilder out = new StringBuilder();
        line(out, "case", caseName);
        line(out, "rocketmq", rocketmq);
        line(out, "form", formName);
        line(out, "code", String.valueOf(command.getCode()));
        line(out, "version", String.valueOf(command.getVersion()));
        line(out, "language", language.name());
        line(out, "opaque", String.valueOf(command.getOpaque()));
        line(out, "flag", String.valueOf(command.getFlag()));
        if (command.getRemark() != null)
            text(out, "remark", command.getRemark());
        for (String[] ext : wireOrder(frame, form))
            text(out, "ext." + ext[0], ext[1]);
        for (String note : notes)
            out.append("# ").append(note).append('\n');
        line(out, "body-size", String.valueOf(bytes.length));
        line(out, "body", body == null ? HEX.formatHex(bytes) : body);
        line(out, "frame-size", String.valueOf(frame.length));
        String hex = HEX.formatHex(frame);
        for (int i = 0; i < hex.length(); i += HEX_LINE_CHARS)
            out.append(hex, i, Math.min(hex.length(), i + HEX_LINE_CHARS)).append('\n');

        Path path = folder.resolve(caseName + ".hex");
        if (Files.exists(path))
            throw new IOException("two cases named " + caseName);
        Files.writeString(path, out, StandardCharsets.US_ASCII);
        written++;
    }

    static void line(StringBuilder out, String key, String value) {
        out.append("# ").append(key).append(':');
        if (!value.isEmpty())
            out.append(' ').append(value);
        out.append('\n');
    }

    /** `key: value`, or `key-hex: bytes` where the value is not plain text on one line. */
    private static void text(StringBuilder out, String key, String value) {
        boolean plain = value.equals(value.strip());
        for (int i = 0; i < value.length(); i++)
            plain &= value.charAt(i) >= 0x20 && value.charAt(i) < 0x7f;
        boolean properties = key.equals("ext.i") || key.equals("ext.properties");
        if (plain && !properties)
            line(out, key, value);
        else
            line(out, key + "-hex", HEX.formatHex(value.getBytes(StandardCharsets.UTF_8)));
    }

    private static byte[] encode(RemotingCommand command) {
        EmbeddedChannel channel = new EmbeddedChannel(new NettyEncoder());
        channel.writeOutbound(command);
        List<byte[]> parts = new ArrayList<>();
        int size = 0;
        for (ByteBuf part = channel.readOutbound(); part != null; part = channel.readOutbound()) {
            byte[] bytes = new byte[part.readableBytes()];
            part.readBytes(bytes);
            part.release();
            parts.add(bytes);
            size += bytes.length;
        }
        ByteBuffer frame = ByteBuffer.allocate(size);
        parts.forEach(frame::put);
        channel.finishAndReleaseAll();
        return frame.array();
    }

    /** The ext fields as they stand in the frame, in that order, repeated ones repeated. */
    private static List<String[]> wireOrder(byte[] frame, SerializeType form) {
        List<String[]> fields = new ArrayList<>();
        ByteBuffer in = ByteBuffer.wrap(frame);
        in.getInt();
        int headerSize = in.getInt() & 0xffffff;
        if (form == SerializeType.JSON) {
            JSONObject all = JSON.parseObject(
                new String(frame, 8, headerSize, StandardCharsets.UTF_8), Feature.OrderedField);
            JSONObject ext = all.getJSONObject("extFields");
            if (ext != null)
                ext.forEach((key, value) -> fields.add(new String[] {key, (String) value}));
            return fields;
        }
        in.position(8 + 13);
        readText(in, in.getInt());
        int end = in.getInt();
        end += in.position();
        while (in.position() < end) {
            String key = readText(in, in.getShort());
            fields.add(new String[] {key, readText(in, in.getInt())});
        }
        return fields;
    }

    private static String readText(ByteBuffer in, int size) {
        byte[] bytes = new byte[size];
        in.get(bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }

    // values

    /** Byte i is (i * 31 + 7) & 0xff; written in the files as pattern:size. */
    static byte[] pattern(int size) {
        byte[] bytes = new byte[size];
        for (int i = 0; i < size; i++)
            bytes[i] = (byte) (i * 31 + 7);
        return bytes;
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
