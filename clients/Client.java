import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.*;
import java.net.*;
import java.net.http.*;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Objects;
import java.util.regex.Pattern;

/** Enrols an authenticator app with mfa-server and checks codes: {@code API_KEY=mfa_... java Client.java alice} */
public final class Client {
    /** Why the server did not do what was asked (RFC 9457). */
    public static final class Problem extends Exception {
        final String code;
        final long retryAfter;

        Problem(String type, String title, long retryAfter) {
            super(title + " (" + type + ")");
            this.code = type.substring(type.lastIndexOf('/') + 1);
            this.retryAfter = retryAfter;
        }
    }

    private static final PrintStream OUT = new PrintStream(new FileOutputStream(FileDescriptor.out), true, UTF_8);
    private static final BufferedReader IN = new BufferedReader(new InputStreamReader(System.in));

    private final HttpClient http = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(3)).build();
    private final String url;
    private final String key;

    public Client(String url, String key) {
        this.url = url;
        this.key = key;
    }

    // Each call gives the server's answer as JSON, or throws a Problem: let nobody in then.

    /** A user who has a factor needs a proof, the assertion of a verification in this session, and its nonce. */
    public String enrol(String user, String label, String proof, String nonce) throws Problem, InterruptedException {
        var more = proof == null ? "" : ", \"proof\": " + quoted(proof) + ", \"nonce\": " + quoted(nonce);
        return post(user, "factors", "{\"kind\": \"totp\", \"qr\": \"text\", \"label\": " + quoted(label) + more + "}");
    }

    public String confirm(String user, String factor, String code) throws Problem, InterruptedException {
        return post(user, "factors/" + factor + "/confirm", "{\"code\": " + quoted(code) + "}");
    }

    /** The nonce binds the assertion in the answer to one session of your application. */
    public String verify(String user, String code, String nonce) throws Problem, InterruptedException {
        return post(user, "verify", "{\"code\": " + quoted(code) + ", \"nonce\": " + quoted(nonce) + "}");
    }

    private String post(String user, String call, String body) throws Problem, InterruptedException {
        var request = HttpRequest.newBuilder(URI.create(url + "/v1/users/" + segment(user) + "/" + call))
                .timeout(Duration.ofSeconds(15)) // The server takes at most 9.5.
                .header("Authorization", "Bearer " + key).header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body)).build();
        try {
            var response = http.send(request, HttpResponse.BodyHandlers.ofString());
            if (response.statusCode() / 100 == 2) return response.body();
            var type = text(response.body(), "type", "unavailable");
            var title = text(response.body(), "title", "Status " + response.statusCode());
            var seconds = response.headers().firstValue("Retry-After").filter(value -> value.matches("\\d{1,9}"));
            throw new Problem(type, title, Long.parseLong(seconds.orElse("5")));
        } catch (IOException error) {
            throw new Problem("unavailable", "No answer: " + error, 5);
        }
    }

    /** A user id in a path. Proxies rewrite paths with slashes and dots, so such ids go as base64url. */
    static String segment(String user) {
        if (Pattern.matches("~.*|\\.{1,2}|.*[/\\\\].*", user)) {
            return "~" + Base64.getUrlEncoder().withoutPadding().encodeToString(user.getBytes(UTF_8));
        }
        return URLEncoder.encode(user, UTF_8).replace("+", "%20");
    }

    /**
     * The first text of that name, whatever object it is in. Of the escapes by number it knows only that of ESC, which
     * colours QR codes. That is enough for the members read here; use a JSON library in an application.
     */
    static String text(String json, String name, String otherwise) {
        var member = Pattern.compile("\"" + name + "\":\\s*\"([^\"\\\\]*+(?:\\\\.[^\"\\\\]*+)*+)\"").matcher(json);
        return member.find() ? member.group(1).replace("\\u001b", "\\033").translateEscapes() : otherwise;
    }

    static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    private static void enrolAndVerify(Client mfa, String user) throws Exception {
        // An application makes one for each session, and keeps it there.
        var random = new byte[16];
        new SecureRandom().nextBytes(random);
        var nonce = Base64.getUrlEncoder().withoutPadding().encodeToString(random);
        String enrolment;
        try {
            enrolment = mfa.enrol(user, "Phone", null, null);
        } catch (Problem problem) {
            if (!problem.code.equals("proof-required")) throw problem;
            var code = ask("You have a factor already. To add another, type a code of it: ");
            enrolment = mfa.enrol(user, "Phone", text(mfa.verify(user, code, nonce), "assertion", null), nonce);
        }
        OUT.println("Scan this with an authenticator app:\n\n" + text(enrolment, "qr_text", ""));
        OUT.println("Or type the secret: " + text(enrolment, "secret", ""));
        var confirmed = mfa.confirm(user, text(enrolment, "id", ""), ask("The code that the app shows: "));
        var codes = Pattern.compile("\"backup_codes\":\\s*\\[\"([^\\]]+)\"\\]").matcher(confirmed);
        OUT.println("Enrolled. Backup codes, each good once:");
        OUT.println("  " + (codes.find() ? codes.group(1).replaceAll("\",\\s*\"", "\n  ") : "none new"));
        for (var question : List.of("The next code that the app shows: ", "A backup code: ")) {
            OUT.println("Verified by " + text(mfa.verify(user, ask(question), nonce), "kind", ""));
        }
    }

    private static String ask(String question) throws IOException {
        OUT.print(question);
        OUT.flush();
        return Objects.requireNonNullElse(IN.readLine(), "");
    }

    public static void main(String[] arguments) throws Exception {
        var url = System.getenv().getOrDefault("API_URL", "http://127.0.0.1:8080");
        var key = System.getenv("API_KEY");
        if (arguments.length != 1 || key == null) {
            System.err.println("usage: API_KEY=mfa_... java Client.java USER");
            System.exit(2);
        }
        try {
            enrolAndVerify(new Client(url, key), arguments[0]);
        } catch (Problem problem) {
            var wrong = List.of("invalid-code", "malformed-code").contains(problem.code);
            var later = List.of("locked", "throttled", "unavailable", "busy").contains(problem.code);
            var again = "Try again in " + problem.retryAfter + " seconds";
            var advice = wrong ? "Wrong code" : later ? again : "Not possible";
            System.err.println("\n" + advice + ": " + problem.getMessage());
            System.exit(wrong ? 1 : later ? 3 : 2);
        }
    }
}
