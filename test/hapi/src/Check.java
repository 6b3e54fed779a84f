import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import java.nio.file.Files;
import java.nio.file.Path;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;

/** Validates each file that is named; exit code 1 if any has an error. No network: code systems that HAPI does not bring give warnings. */
public class Check {
  public static void main(String[] files) throws Exception {
    var context = FhirContext.forR4();
    var unknown = new UnknownCodeSystemWarningValidationSupport(context);
    unknown.setNonExistentCodeSystemSeverity(ca.uhn.fhir.context.support.IValidationSupport.IssueSeverity.WARNING);
    var chain = new ValidationSupportChain(
        new DefaultProfileValidationSupport(context), new CommonCodeSystemsTerminologyService(context),
        new InMemoryTerminologyServerValidationSupport(context), new SnapshotGeneratingValidationSupport(context), unknown);
    var validator = context.newValidator();
    validator.registerValidatorModule(new FhirInstanceValidator(chain));
    int errors = 0;
    for (var file : files) {
      int own = 0;
      for (var message : validator.validateWithResult(Files.readString(Path.of(file))).getMessages()) {
        if (message.getSeverity().ordinal() < ResultSeverityEnum.ERROR.ordinal()) continue;
        own++;
        System.out.println(file + ": " + message.getLocationString() + ": " + message.getMessage());
      }
      System.out.println(file + ": " + own + " errors");
      errors += own;
    }
    System.exit(errors == 0 ? 0 : 1);
  }
}
